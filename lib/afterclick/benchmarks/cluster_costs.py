"""What one person, one message and one open session cost apart from the running path; for `cluster_sizes`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pyspark.sql import SparkSession

from afterclick.benchmarks import ingest, memory, sessions
from afterclick.benchmarks.cluster_sizes import Costs
from afterclick.benchmarks.growth import interactions, update_seconds
from afterclick.benchmarks.interleaved import median_seconds
from afterclick.benchmarks.people import write_people
from afterclick.benchmarks.process_figures import read_processes
from afterclick.list_updates import update_here, update_spread
from afterclick.local.demo import demo_session
from afterclick.local.stack import stack_status
from afterclick.settings import Settings

HISTORY = 60
"""Interactions of a person."""
_UPDATES = 6
"""Times that `update_seconds` writes everybody's list."""


def measure_costs(
    settings: Settings, per_event: Mapping[str, float], *, announce: Callable[[str], None], quick: bool
) -> Costs:
    """Measure beside nothing else; the stack runs, the path does not.

    Parameters
    ----------
    per_event
        Core seconds of an event by service, as the path showed them. `bulk` is added: in the path most of its time is that of
        a batch whatever is in it, so it is measured in batches as large as they may be, all cores busy.
    """
    few, many = (20, 100) if quick else (50, 1_000)
    person_bytes = memory.measure(settings, announce=announce, quick=quick)["measured"]
    announce(f"lists of {few} and of {many:,} people")
    subjects = write_people(settings, few + many, interactions=HISTORY)
    first = update_seconds(settings, subjects[:few])
    before = _valkey_seconds(settings)
    second = update_seconds(settings, subjects[few:])  # others: a batch's number is never written twice for a person
    store_seconds = (_valkey_seconds(settings) - before) / (_UPDATES * many)
    announce("the same lists on executors, and rows through the driver")
    with demo_session(settings) as spark:
        spread = _spread_seconds(spark, settings, subjects[:few])
        driver = _driver_seconds(spark, subjects[0], 2_000 if quick else 20_000)
    announce("ingest and sessions")
    cores = os.cpu_count() or 1
    rates = [bench.measure(settings, announce=announce, quick=quick)["measured"] for bench in (ingest, sessions)]
    announce("open sessions")
    session_seconds, session_bytes = _open_sessions(quick=quick)
    return Costs(
        spread_seconds=spread,
        driver_seconds=driver,
        list_seconds=max(0.0, (second - first) / (many - few)),
        store_seconds=store_seconds,
        per_event={**per_event, "bulk": sum(cores / rate for rate in rates)},
        session_seconds=session_seconds,
        session_bytes=session_bytes,
        person_bytes=float(person_bytes),
        machine_cores=cores,
    )


def _valkey_seconds(settings: Settings) -> float:
    pid = stack_status(settings.state_dir)["valkey"]
    return sum(figures.cpu_seconds for figures in read_processes({"valkey": pid} if pid else {}).values())


def _spread_seconds(spark: SparkSession, settings: Settings, subjects: list[str]) -> float:
    """Return how much longer executors take than the driver for a few people."""
    table = interactions(subjects, int(time.time() * 1000))
    here = median_seconds(partial(update_here, table, settings=settings))
    return max(0.0, median_seconds(lambda: update_spread(spark.createDataFrame(table), settings=settings)) - here)


def _driver_seconds(spark: SparkSession, subject: str, rows: int) -> float:
    """Return the time of a row from the JVM to Arrow on the driver and back, as a spread batch goes."""
    tables = [interactions([subject] * count, 0) for count in (rows // 10, rows)]
    small, large = (median_seconds(lambda table=table: spark.createDataFrame(table).toArrow()) for table in tables)  # type: ignore[misc]
    return max(0.0, (large - small) / (rows - rows // 10))


def _open_sessions(*, quick: bool) -> tuple[float, float]:
    """Return seconds and bytes of one, in a process of its own: its peak memory is told by the system."""
    command = [sys.executable, "-m", "afterclick.cli", "bench", "open-sessions", "--json", *(["--quick"] * quick)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603 - our own interpreter
    figures: dict[str, Any] = json.loads(done.stdout)
    in_a_shard = figures["open_sessions"] / 2
    return figures["measured"] / in_a_shard, figures["peak_memory_mb_per_shard"] * 1e6 / in_a_shard
