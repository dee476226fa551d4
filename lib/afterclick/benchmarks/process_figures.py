"""Memory and processor time of running services, and whether a series grows."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np
import psutil

from afterclick.benchmarks.batch_queue import FloatVector

_FEWEST = 3
"""Looks that a line needs."""


@dataclass(frozen=True)
class ProcessFigures:
    """Of a service and all it started: resident bytes, and processor seconds since their start."""

    rss_bytes: int
    cpu_seconds: float

    def __add__(self, other: "ProcessFigures") -> "ProcessFigures":
        """Return the figures of both together."""
        return ProcessFigures(self.rss_bytes + other.rss_bytes, self.cpu_seconds + other.cpu_seconds)


def read_processes(pids: Mapping[str, int], *, apart: bool = False) -> dict[str, ProcessFigures]:
    """Return the figures of each named process with its children, of this one without: they are named themselves.

    One that has ended is left out. With `apart` also those of its programs where there are several: ``bulk itself``,
    ``bulk java``, ``bulk python``.
    """
    found: dict[str, ProcessFigures] = {}
    for name, pid in pids.items():
        if programs := _programs(pid):
            found[name] = reduce(add, programs.values())
            if apart and len(programs) > 1:
                found |= {f"{name} {part}": figures for part, figures in programs.items()}
    return found


def _programs(pid: int) -> dict[str, ProcessFigures]:
    found: dict[str, ProcessFigures] = {}
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *(root.children(recursive=True) if pid != os.getpid() else [])]:
            with suppress(psutil.NoSuchProcess):  # a worker may end meanwhile
                name = "itself" if process == root else process.name()
                times = process.cpu_times()
                figures = ProcessFigures(process.memory_info().rss, times.user + times.system)
                found[name] = found[name] + figures if name in found else figures
    return found


@dataclass(frozen=True)
class Trend:
    """A line through a series: growth an hour, and over all of it, in its unit; `noise` is twice the scatter about it."""

    per_hour: float
    growth: float
    noise: float

    @property
    def is_flat(self) -> bool:
        """Tell whether it grew by no more than its noise."""
        return self.growth <= self.noise


def trend(seconds: FloatVector, values: FloatVector) -> Trend:
    """Return the least-squares line of at least three values over time."""
    slope, level = np.polyfit(seconds, values, 1)
    noise = 2 * float(np.std(values - (slope * seconds + level), ddof=2))
    return Trend(float(slope * 3600), float(slope * (seconds[-1] - seconds[0])), noise)


@dataclass
class Diary:
    """Memory of each service, and of its programs apart, at times since the begin."""

    begun: float
    seconds: list[float] = field(default_factory=list)
    figures: list[dict[str, ProcessFigures]] = field(default_factory=list)

    def add(self, figures: dict[str, ProcessFigures]) -> None:
        """Note what was read now."""
        self.seconds.append(time.time() - self.begun)
        self.figures.append(figures)

    def trends(self, *, since: float) -> dict[str, dict[str, float | bool]]:
        """Return by name the first and last MB and their line from `since` seconds after the begin, of what is there now."""
        series = {name: self._series(name, since) for name in self.figures[-1]}
        return {name: self._trend(known) for name, known in series.items() if len(known) >= _FEWEST}

    def _series(self, name: str, since: float) -> list[tuple[float, float]]:
        return [
            (at, one[name].rss_bytes / 1e6)
            for at, one in zip(self.seconds, self.figures, strict=True)
            if at >= since and name in one
        ]

    def _trend(self, known: Sequence[tuple[float, float]]) -> dict[str, float | bool]:
        times, values = (np.array(column) for column in zip(*known, strict=True))
        line = trend(times, values)
        return {
            "first_mb": round(values[0], 1),
            "last_mb": round(values[-1], 1),
            "mb_an_hour": round(line.per_hour, 1),
            "growth_mb": round(line.growth, 1),
            "noise_mb": round(line.noise, 1),
            "is_flat": line.is_flat,
        }
