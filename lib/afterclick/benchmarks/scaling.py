"""One load calibrates a queueing model, which predicts the freshness at others; from its costs follow clusters.

The whole path runs once, at several loads in turns (A B C ... C B A). Only the batch reports and probes of one load go into
`batch_queue`; what it says of the others is set against their own probes.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np

from afterclick.benchmarks.batch_costs import began, fit_queue, fitted_line
from afterclick.benchmarks.batch_queue import BatchQueue, FloatVector, probed, simulate, slowdown
from afterclick.benchmarks.cluster_costs import measure_costs
from afterclick.benchmarks.cluster_sizes import cluster_sizes
from afterclick.benchmarks.process_figures import ProcessFigures, read_processes
from afterclick.benchmarks.whole_path import (
    CLIENT,
    POLL_SECONDS,
    POST_SIZE,
    PROBED,
    Clients,
    Pace,
    RunningPath,
    hurried,
    open_clients,
    running_path,
)
from afterclick.local import demo
from afterclick.local.freshness import FreshnessProbe, percentiles_ms
from afterclick.local.sender import Message
from afterclick.query_metrics import BatchReport, read_reports
from afterclick.settings import Settings

Announce = Callable[[str], None]
LOADS = (100, 250, 500, 750, 1_000)
QUICK_LOADS = (50, 100)
REACH = 0.25
"""Most error of a predicted p99."""
SETTLE_SECONDS, _QUICK_SETTLE_SECONDS = 10, 2
UNEVEN = (0.4, 1.6)
"""Of the calibrated rate, a second each in turns."""
_SIMULATED_SECONDS = 600
BESIDE = ("collector", "api", "kafka", "valkey", CLIENT)
"""Who takes processor time from the batches; the bulk streams run in idle time."""


@dataclass(frozen=True)
class Beside:
    """What `BESIDE` want of the cores: so many when nothing is sent, and core seconds an event."""

    idle: float
    an_event: float

    def cores(self, rate: float) -> float:
        """Return the cores they want at a rate."""
        return self.idle + self.an_event * rate


@dataclass
class Phases:
    """What was measured at one load, in all its turns."""

    rate: float
    probe: FreshnessProbe
    spans: list[tuple[float, float]] = field(default_factory=list)
    busy: list[dict[str, float]] = field(default_factory=list)
    uneven: list[tuple[float, float, float]] = field(default_factory=list)
    """Begin, end and rate of the seconds of uneven sending."""

    def batches(self, reports: Sequence[BatchReport]) -> list[BatchReport]:
        """Return the batches that began in a turn of it."""
        return [report for report in reports if any(begin <= began(report) < end for begin, end in self.spans)]

    def uneven_batches(self, reports: Sequence[BatchReport]) -> list[tuple[BatchReport, float]]:
        """Return the batches of uneven sending, each with the rate when it began."""
        return [(one, rate) for begin, end, rate in self.uneven for one in reports if begin <= began(one) < end]

    def cores(self) -> dict[str, float]:
        """Return the cores each service kept busy, on the average."""
        return {name: sum(one.get(name, 0.0) for one in self.busy) / len(self.busy) for name in self.busy[0]}


def measure(settings: Settings, pace: Pace, *, announce: Announce) -> dict[str, Any]:
    """Run all loads, calibrate at ``pace.rate``, and predict.

    Returns
    -------
    dict
        `measured`: the largest error of a predicted p99; `loads`: by rate, measured and predicted ms; `queue`; `costs`;
        `clusters`: by rate, see `cluster_sizes`.
    """
    settings = hurried(settings, pace)
    loads = sorted({*(QUICK_LOADS if pace.is_quick else LOADS), pace.rate})
    with running_path(settings, announce, is_quick=pace.is_quick) as path:
        idle, phases = asyncio.run(_send(settings, path, pace, loads, announce))
        reports = read_reports(path.log("recommendations"), "update_recommendations")
    known, cores = phases[pace.rate], os.cpu_count() or 1
    idle_cores, known_cores = (sum(one.get(name, 0.0) for name in BESIDE) for one in (idle, known.cores()))
    beside = Beside(idle_cores, max(0.0, known_cores - idle_cores) / pace.rate)
    queue = calibrated(known, reports, beside, cores)
    compared = {
        f"{rate:g}": compare(one, queue, slowing(beside, rate, pace.rate, cores), reports)
        for rate, one in phases.items()
        if one.probe.samples
    }
    errors = [abs(one["error"]) for rate, one in compared.items() if float(rate) != pace.rate]
    costs = measure_costs(settings, event_costs(list(phases.values())), announce=announce, quick=pace.is_quick)
    gap, trigger = settings.sessions.gap_minutes * 60, settings.streams.bulk_trigger_seconds
    return {
        "measured": max(errors, default=0.0),
        "baseline": REACH,
        "ratio": round(REACH / max([*errors, 1e-9]), 3),
        "runs": len(known.spans),
        "calibrated_at": pace.rate,
        "loads": compared,
        "without_samples": [rate for rate, one in phases.items() if not one.probe.samples],
        "queue": told(queue, beside),
        "costs": asdict(costs),
        "clusters": cluster_sizes(queue, costs, gap_seconds=gap, trigger_seconds=trigger),
    }


def calibrated(known: Phases, reports: Sequence[BatchReport], beside: Beside, cores: int) -> BatchQueue:
    """Return the queue that one load shows."""
    uneven = [(one, slowing(beside, rate, known.rate, cores)) for one, rate in known.uneven_batches(reports)]
    return fit_queue(known.batches(reports), known.probe.samples, uneven=uneven)


async def _send(
    settings: Settings, path: RunningPath, pace: Pace, loads: Sequence[float], announce: Announce
) -> tuple[dict[str, float], dict[float, Phases]]:
    """Send all loads; return the busy cores when nothing is sent, and what was measured."""
    settle = _QUICK_SETTLE_SECONDS if pace.is_quick else SETTLE_SECONDS
    turns = list(loads) if pace.is_quick else [*loads, *reversed(loads)]
    seconds = pace.seconds * len(loads) / len(turns)
    events = pace.rate * (pace.warm_up + 2 * seconds) + sum(turns) * (settle + seconds)
    plan = demo.DemoPlan(events=int(events), rate=pace.rate)
    messages = iter(demo.planned_messages(path.baskets, plan, now=datetime.now(UTC)))
    announce(f"sending {pace.rate:g}/s for {pace.warm_up:g} s, then {turns} for {settle} + {seconds:g} s each")
    async with open_clients(settings) as clients:
        phases = {rate: Phases(rate, FreshnessProbe(clients.to_api, poll_seconds=POLL_SECONDS)) for rate in loads}
        await clients.send(islice(messages, int(pace.rate * pace.warm_up)), rate=pace.rate)
        before = read_processes(path.pids(settings))
        await asyncio.sleep(settle)
        idle = _busy(before, read_processes(path.pids(settings)), settle)
        for number, rate in enumerate(turns):
            announce(f"{rate:g} events/s ({number + 1} of {len(turns)})")
            await clients.send(islice(messages, int(rate * settle)), rate=rate)
            await _turn(phases[rate], clients, islice(messages, int(rate * seconds)), path.pids(settings), number)
            if rate == pace.rate:
                await _send_unevenly(phases[rate], clients, messages, seconds)
    return idle, phases


async def _send_unevenly(phase: Phases, clients: Clients, messages: Iterator[Message], seconds: float) -> None:
    for number in range(int(seconds)):
        rate, begin = phase.rate * UNEVEN[number % len(UNEVEN)], time.time()
        await clients.send(islice(messages, int(rate)), rate=rate)
        phase.uneven.append((begin, time.time(), rate))


async def _turn(
    phase: Phases, clients: Clients, messages: Iterator[Message], pids: Mapping[str, int], number: int
) -> None:
    before, begin = read_processes(pids), time.time()
    async with asyncio.TaskGroup() as tasks:
        await clients.send(messages, rate=phase.rate, on_acked=demo.prober(phase.probe, tasks, number, share=PROBED))
        end = time.time()
        phase.busy.append(_busy(before, read_processes(pids), end - begin))
    phase.spans.append((begin, end))


def _busy(
    before: Mapping[str, ProcessFigures], after: Mapping[str, ProcessFigures], seconds: float
) -> dict[str, float]:
    return {
        name: max(0.0, after[name].cpu_seconds - figures.cpu_seconds) / seconds
        for name, figures in before.items()
        if name in after
    }


def slowing(beside: Beside, rate: float, calibrated: float, cores: int) -> float:
    """Return how much longer batches take at a rate than at the calibrated one, for others want the cores too."""
    return slowdown(beside.cores(rate), cores) / slowdown(beside.cores(calibrated), cores)


def compare(phase: Phases, queue: BatchQueue, factor: float, reports: Sequence[BatchReport]) -> dict[str, Any]:
    """Return measured and predicted ms of a load, and the error of the p99 as a share of the measured one."""
    took = np.array([sample["total"] for sample in phase.probe.samples])
    passage = simulate(queue.slowed(factor), phase.rate, seconds=_SIMULATED_SECONDS, seed=1, post=POST_SIZE)
    said = probed(passage, share=PROBED, seed=2)
    measured, predicted = percentiles_ms(took.tolist()), percentiles_ms(said.tolist())
    lengths = [report.ms for report in phase.batches(reports)]
    return {
        "measured": measured,
        "p99_from_to": p99_interval(took),
        "predicted": predicted,
        "error": round(predicted["p99"] / measured["p99"] - 1, 3),
        "samples": len(took),
        "missed": phase.probe.missed,
        "batch_ms": [round(float(np.median(lengths))), round(float(np.median(passage.lengths)) * 1000)],
        "slowing": round(factor, 3),
        "cores": {name: round(value, 3) for name, value in phase.cores().items()},
    }


def p99_interval(took: FloatVector) -> list[float]:
    """Return the middle nine tenths of the p99 of samples drawn anew, ms: so much a p99 of so few is worth."""
    draw = np.random.default_rng(1)
    again = np.percentile(draw.choice(took, (1_000, len(took))), 99, axis=1)
    return [round(float(value) * 1000, 1) for value in np.percentile(again, [5, 95])]


def event_costs(phases: Sequence[Phases]) -> dict[str, float]:
    """Return each service's core seconds an event: the slope of busy cores over the rate, of those a cluster has too."""
    rates = np.array([phase.rate for phase in phases])
    names = ("collector", "kafka")
    return {name: fitted_line(rates, np.array([p.cores().get(name, 0.0) for p in phases]))[1] for name in names}


def told(queue: BatchQueue, beside: Beside) -> dict[str, float]:
    """Return the calibrated queue in numbers."""
    return {
        "fixed_ms": round(queue.fixed * 1000, 1),
        "event_ms": round(queue.per_event * 1000, 4),
        "spread_p99": round(float(np.percentile(queue.spread, 99)), 2),
        "before_ms": round(float(np.median(queue.before)) * 1000, 1),
        "after_ms": round(float(np.median(queue.after)) * 1000, 1),
        "beside_cores_idle": round(beside.idle, 3),
        "beside_core_ms_an_event": round(beside.an_event * 1000, 4),
        "capacity": round(queue.capacity) if np.isfinite(queue.capacity) else 0,
    }
