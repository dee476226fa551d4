"""Measure two ways to do one thing in turns (A B A B ...), so that a noisy machine is noisy for both."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def compare(
    measured: Callable[[], object], baseline: Callable[[], object], *, runs: int = 7, warm_ups: int = 1
) -> dict[str, Any]:
    """Return median seconds of both, the spread of each and how many times faster `measured` is.

    Both run before, `warm_ups` times, not counted: code is loaded and memory is touched. `ratio` is the median of the ratios of
    neighbouring runs; `spread` is (largest - smallest) / median.
    """
    for _ in range(warm_ups):
        measured()
        baseline()
    pairs = [(_seconds(measured), _seconds(baseline)) for _ in range(runs)]
    ours, theirs = zip(*pairs, strict=True)
    return {
        "measured_s": round(statistics.median(ours), 6),
        "baseline_s": round(statistics.median(theirs), 6),
        "ratio": round(statistics.median(b / a for a, b in pairs), 3),
        "spread": round(_spread(ours), 3),
        "baseline_spread": round(_spread(theirs), 3),
        "runs": runs,
    }


def median_seconds(call: Callable[[], object], runs: int = 5) -> float:
    """Return the median of some runs; one before, not counted."""
    call()
    return statistics.median(_seconds(call) for _ in range(runs))


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _spread(times: tuple[float, ...]) -> float:
    return (max(times) - min(times)) / statistics.median(times)
