"""Measure ways to do one thing in turns (A B A B ...), so that a noisy machine is noisy for all."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def compare(
    measured: Callable[[], object], baseline: Callable[[], object], *, runs: int = 7, warm_ups: int = 1
) -> dict[str, Any]:
    """Return the figures of `compare_ways` for one way."""
    return compare_ways({"measured": measured}, baseline, runs=runs, warm_ups=warm_ups)["measured"]


def compare_ways(
    ways: Mapping[str, Callable[[], object]], baseline: Callable[[], object], *, runs: int = 7, warm_ups: int = 1
) -> dict[str, dict[str, Any]]:
    """Return by way its median seconds and the baseline's, the spread of each and how many times faster it is.

    All run before, `warm_ups` times, not counted: code is loaded and memory is touched. `ratio` is the median of the ratios of
    the same round; `spread` is (largest - smallest) / median.
    """
    calls = [*ways.values(), baseline]
    for _ in range(warm_ups):
        for call in calls:
            call()
    rounds = [[_seconds(call) for call in calls] for _ in range(runs)]
    *times, plain = (list(column) for column in zip(*rounds, strict=True))
    return {name: _figures(ours, plain) for name, ours in zip(ways, times, strict=True)}


def _figures(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    return {
        "measured_s": round(statistics.median(ours), 6),
        "baseline_s": round(statistics.median(theirs), 6),
        "ratio": round(statistics.median(b / a for a, b in zip(ours, theirs, strict=True)), 3),
        "spread": round(_spread(ours), 3),
        "baseline_spread": round(_spread(theirs), 3),
        "runs": len(ours),
    }


def median_seconds(call: Callable[[], object], runs: int = 5) -> float:
    """Return the median of some runs; one before, not counted."""
    call()
    return statistics.median(_seconds(call) for _ in range(runs))


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _spread(times: Sequence[float]) -> float:
    return (max(times) - min(times)) / statistics.median(times)
