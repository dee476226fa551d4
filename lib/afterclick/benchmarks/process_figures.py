"""Memory and processor time of running services, and whether a series grows."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import psutil

from afterclick.benchmarks.batch_queue import FloatVector


@dataclass(frozen=True)
class ProcessFigures:
    """Of a service and all it started: resident bytes, and processor seconds since their start."""

    rss_bytes: int
    cpu_seconds: float


def read_processes(pids: Mapping[str, int]) -> dict[str, ProcessFigures]:
    """Return the figures of each named process with its children, of this one without: they are named themselves.

    One that has ended is left out.
    """
    return {name: figures for name, pid in pids.items() if (figures := _read(pid))}


def _read(pid: int) -> ProcessFigures | None:
    rss, cpu = 0, 0.0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *(root.children(recursive=True) if pid != os.getpid() else [])]:
            with suppress(psutil.NoSuchProcess):  # a worker may end meanwhile
                times = process.cpu_times()
                rss += process.memory_info().rss
                cpu += times.user + times.system
    return ProcessFigures(rss, cpu) if rss else None


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
