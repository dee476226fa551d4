"""From measured costs to a cluster: cores, partitions, memory and Redis for a rate. Arithmetic and `batch_queue`, no I/O.

What comes out was not run: it is what the costs of two cores say if they hold, one event touching one person.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from afterclick.benchmarks.batch_queue import BatchQueue, simulate

RATES = (10_000, 100_000, 1_000_000)
GOAL_SECONDS = 0.5
"""Of the p99 of freshness."""
BUSY = 0.5
"""Share of a core's time that is planned: the rest is for peaks, restarts and the loss of a machine."""
EVENTS_A_VISIT, EVENTS_A_PERSON_A_DAY = 15, 20
"""Assumed: of them follow open sessions and people."""
_CORES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LANES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Costs:
    """Measured; seconds of one core, bytes.

    Parameters
    ----------
    spread_seconds
        What a batch takes longer, whatever is in it, when its lists are made on executors.
    driver_seconds
        Of an event through the driver: no further core helps.
    list_seconds
        Of a person's history and lists, on an executor.
    store_seconds
        Redis' own for a person: read and write.
    per_event
        By service, of an event.
    session_seconds, session_bytes
        Of an open session a batch, in the state and in the memory of a shard at work.
    person_bytes
        Of Redis.
    machine_cores
        Of the measured machine: so many has a driver that makes the lists itself.
    """

    spread_seconds: float
    driver_seconds: float
    list_seconds: float
    store_seconds: float
    per_event: Mapping[str, float]
    session_seconds: float
    session_bytes: float
    person_bytes: float
    machine_cores: int


@dataclass(frozen=True)
class FastPath:
    """Applications of update_recommendations, each with its own part of the topic and as many executor cores.

    0 `cores`: lists are made on the driver, a machine like the measured one.
    """

    lanes: int
    cores: int
    driver_cores: int
    p50_ms: float
    p99_ms: float


def cluster_sizes(queue: BatchQueue, costs: Costs, *, gap_seconds: float, trigger_seconds: float) -> dict[str, Any]:
    """Return a cluster for each of `RATES`.

    Parameters
    ----------
    gap_seconds
        After which a session closes: so long each stays open at least.
    trigger_seconds
        Of build_sessions: a batch must be done in `BUSY` of it.
    """
    return {
        str(rate): _size(queue, costs, rate, gap_seconds=gap_seconds, trigger_seconds=trigger_seconds) for rate in RATES
    }


def _size(
    queue: BatchQueue, costs: Costs, rate: float, *, gap_seconds: float, trigger_seconds: float
) -> dict[str, Any]:
    fast = fast_path(queue, costs, rate)
    open_sessions = rate * gap_seconds / EVENTS_A_VISIT
    shards = math.ceil(open_sessions * costs.session_seconds / (BUSY * trigger_seconds))
    cores = {name: math.ceil(rate * seconds / BUSY) for name, seconds in costs.per_event.items()}
    redis = math.ceil(rate * costs.store_seconds / BUSY)
    people = rate * 86_400 / EVENTS_A_PERSON_A_DAY
    widest = max([*cores.values(), shards, fast.cores * fast.lanes if fast else 1])
    return {
        "recommendations": asdict(fast) if fast else None,
        "cores": cores,
        "session_shards": shards,
        "session_memory_gb": round(open_sessions * costs.session_bytes / 1e9, 1),
        "partitions": 2 ** math.ceil(math.log2(max(2, widest))),
        "redis_cores": redis,
        "redis_gb_a_day_of_people": round(people * costs.person_bytes / 1e9, 1),
        "people_a_day": round(people),
    }


def fast_path(queue: BatchQueue, costs: Costs, rate: float) -> FastPath | None:
    """Return the fewest cores, then lanes, with which the p99 of freshness stays below `GOAL_SECONDS`; None: not with any."""
    applications = [(0, costs.machine_cores), *[(cores, 1) for cores in _CORES]]
    choices = [(lanes * sum(one), lanes, *one) for lanes in _LANES for one in applications]
    for _, lanes, cores, driver_cores in sorted(choices):
        one = spread_queue(queue, costs, cores) if cores else queue
        if 2 * one.steady_batch(rate / lanes) > GOAL_SECONDS:  # even without spread
            continue
        seconds = simulate(one, rate / lanes, seconds=60, seed=1, post=max(10, round(rate / lanes / 2_000))).seconds
        p50, p99 = np.percentile(seconds, [50, 99])
        if p99 <= GOAL_SECONDS:
            return FastPath(lanes, cores, driver_cores, round(float(p50) * 1000), round(float(p99) * 1000))
    return None


def spread_queue(queue: BatchQueue, costs: Costs, cores: int) -> BatchQueue:
    """Return the queue of one application whose lists are made by so many cores, one event touching one person."""
    per_event = costs.driver_seconds + costs.list_seconds / cores
    return BatchQueue(queue.fixed + costs.spread_seconds, per_event, queue.spread, queue.before, queue.after)
