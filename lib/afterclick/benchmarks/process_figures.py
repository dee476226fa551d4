"""Memory and processor time of running services, and whether a series grows."""

import os
from collections.abc import Iterable, Mapping
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
    return {name: _sum(programs.values()) for name, pid in pids.items() if (programs := _programs(pid))}


def read_programs(pids: Mapping[str, int]) -> dict[str, ProcessFigures]:
    """Return the figures apart of each service that is of several processes: `bulk itself`, `bulk java`, `bulk python`."""
    found = {name: _programs(pid) for name, pid in pids.items()}
    return {f"{name} {part}": one for name, parts in found.items() if len(parts) > 1 for part, one in parts.items()}


def _programs(pid: int) -> dict[str, ProcessFigures]:
    found: dict[str, ProcessFigures] = {}
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *(root.children(recursive=True) if pid != os.getpid() else [])]:
            with suppress(psutil.NoSuchProcess):  # a worker may end meanwhile
                name = "itself" if process == root else process.name()
                times = process.cpu_times()
                one = ProcessFigures(process.memory_info().rss, times.user + times.system)
                found[name] = _sum([one, found[name]]) if name in found else one
    return found


def _sum(figures: Iterable[ProcessFigures]) -> ProcessFigures:
    several = list(figures)
    return ProcessFigures(sum(one.rss_bytes for one in several), sum(one.cpu_seconds for one in several))


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
