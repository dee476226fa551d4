"""The freshness curve as SVG paths; pure. Logarithmic: 50 ms and 5 min are both on it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from afterclick.serving.status_figures import Point

WIDTH, HEIGHT = 600, 200
_LOWEST, _HIGHEST = 0.05, 300.0
_TICKS = {0.1: "0.1 s", 1.0: "1 s", 10.0: "10 s", 100.0: "100 s"}


@dataclass(frozen=True)
class Chart:
    """Path data (``d``) of the curves and places of the lines, in a box of `WIDTH` by `HEIGHT`."""

    p50: str
    p99: str
    promise: float
    ticks: dict[str, float]
    width: int = WIDTH
    height: int = HEIGHT


def draw(points: Sequence[Point], promise: float) -> Chart:
    """Return the chart; a time without events is a gap in the curve."""
    start, end = (points[0].at, points[-1].at) if points else (0.0, 0.0)
    places = [WIDTH * (point.at - start) / ((end - start) or 1.0) for point in points]
    return Chart(
        p50=_path(places, [point.p50 for point in points]),
        p99=_path(places, [point.p99 for point in points]),
        promise=_height(promise),
        ticks={text: _height(seconds) for seconds, text in _TICKS.items()},
    )


def _path(places: Sequence[float], values: Sequence[float | None]) -> str:
    steps, is_drawing = [], False
    for place, value in zip(places, values, strict=True):
        if value is not None:
            # A lone point would have no length: a short stroke makes it seen.
            steps.append(f"{'L' if is_drawing else 'M'}{place:.1f} {_height(value):.1f}h0.5")
        is_drawing = value is not None
    return "".join(steps)


def _height(seconds: float) -> float:
    """Return the distance from the top."""
    inside = min(max(seconds, _LOWEST), _HIGHEST)
    return HEIGHT * (1 - math.log(inside / _LOWEST) / math.log(_HIGHEST / _LOWEST))
