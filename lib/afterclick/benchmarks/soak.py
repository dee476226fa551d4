"""Hours of steady load: nothing is lost, memory stays flat, lists stay as fresh as at the begin.

Every household of Complete Journey stands for `PEOPLE_A_HOUSEHOLD` people who visit in turns, in real time, so that sessions
close and the number of people stays the same, however long it lasts.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count, islice
from typing import Any

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from afterclick.benchmarks.process_figures import Diary, read_processes
from afterclick.benchmarks.whole_path import (
    POLL_SECONDS,
    PROBED,
    Pace,
    RunningPath,
    hurried,
    open_clients,
    running_path,
    stamped,
)
from afterclick.connectors import redis_store
from afterclick.connectors.checkpoints import end_offsets
from afterclick.connectors.delta_tables import read_table
from afterclick.connectors.ledger import FAULTS, check_ledger
from afterclick.local import demo
from afterclick.local.draining import wait_until_drained
from afterclick.local.freshness import FreshnessProbe, percentiles_ms
from afterclick.local.sender import Message, SendCounts
from afterclick.local.simulator import Basket, Mischief, visit_messages
from afterclick.query_metrics import BatchReport, read_reports
from afterclick.settings import Settings

Announce = Callable[[str], None]
REACH = 1.2
"""Most growth of the p99 of freshness from the first window to the last."""
PEOPLE_A_HOUSEHOLD = 20
"""At 500 events a second each comes back about every half hour: after the gap that closes a session."""
WINDOW_SECONDS = 600
_SAMPLE_SECONDS, _SAMPLES = 15, 60
"""Between two looks at memory at most, and how many there are of a short run."""
_TOLD_SECONDS = 60
_DRAINING_SECONDS = 3_600


@dataclass
class CountedOnly(SendCounts):
    """Counts what was acknowledged without keeping millions of ids; every message is sent once."""

    number: int = 0

    def add_acked(self, batch: Sequence[Message]) -> None:
        """Count a batch that was answered 200."""
        self.number += len(batch)


@dataclass
class Run:
    """What is known of a run while it lasts."""

    pace: Pace
    probe: FreshnessProbe
    diary: Diary
    counts: CountedOnly

    def told(self) -> str:
        """Return in one line how it goes: of the last minute, and what memory each service has."""
        samples = [one for one in self.probe.samples if one["posted_at"] > time.time() - _TOLD_SECONDS]
        rss = ", ".join(f"{name} {one.rss_bytes / 1e6:.0f}" for name, one in self.diary.figures[-1].items())
        begun = f"{self.diary.seconds[-1] / 60:.0f} of {self.pace.seconds / 60:g} min, {self.counts.number:,} acked"
        return f"{begun}, {percentiles_ms([one['total'] for one in samples])} ms, MB: {rss}"


def measure(settings: Settings, pace: Pace, *, announce: Announce) -> dict[str, Any]:
    """Send at a pace, wait until all has its fate, and compare.

    Returns
    -------
    dict
        `measured`: p99 of the last window over that of the first; `first`, `last`: ms; `counts`: see `compare_counts`;
        `batch_s`: median seconds of a batch of each query in the first and in the last window;
        `memory`: MB by service, and by its programs, with slope and noise, the first window left out; `memory_last_half`: the
        same of the second half, when a JVM has taken the heap that it may have; `redis_bytes_a_person`.
    """
    settings = hurried(settings, pace)
    with running_path(settings, announce, is_quick=pace.is_quick) as path:
        run = asyncio.run(_send(settings, path, pace, announce))
        announce("waiting until all of it has its fate")
        asyncio.run(wait_until_drained(settings, path.running, demo.QUERIES, seconds=_DRAINING_SECONDS))
        redis_bytes, people = redis_figures(settings)
        window = min(WINDOW_SECONDS, pace.seconds / 3)
        batches = {
            query: batch_seconds(read_reports(path.log(name), query), run.diary.begun, pace.seconds, window=window)
            for name, (queries, _, _) in demo.STREAMS.items()
            for query in queries
        }
    announce("comparing what was acknowledged with ledger and tables")
    with demo.demo_session(settings) as spark:
        found = compare_counts(spark, settings, acked=run.counts.number)
    first, last = windows(run.probe.samples, window=window)
    growth = round(last["p99"] / first["p99"], 3) if first and last else None
    return {
        "measured": growth,
        "baseline": REACH,
        "ratio": round(REACH / growth, 3) if growth else None,
        "runs": 1,
        "rate": pace.rate,
        "seconds": pace.seconds,
        "window_s": round(window),
        "first": first,
        "last": last,
        "whole": percentiles_ms([sample["total"] for sample in run.probe.samples]),
        "missed": run.probe.missed,
        "batch_s": batches,
        "counts": {**found, "retried_posts": run.counts.retried, "refused": sum(run.counts.refused.values())},
        "memory": run.diary.trends(since=window),
        "memory_last_half": run.diary.trends(since=pace.seconds / 2),
        "redis_bytes_a_person": round(redis_bytes / max(1, people)),
        "people": people,
    }


async def _send(settings: Settings, path: RunningPath, pace: Pace, announce: Announce) -> Run:
    messages = stamped(visits(list(path.baskets)))
    announce(f"sending {pace.rate:g}/s for {pace.warm_up:g} + {pace.seconds:g} s")
    async with open_clients(settings, counts=(counts := CountedOnly())) as clients:
        await clients.send(islice(messages, int(pace.rate * pace.warm_up)), rate=pace.rate)
        probe = FreshnessProbe(clients.to_api, poll_seconds=POLL_SECONDS)
        run = Run(pace, probe, Diary(time.time()), counts)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_watch(settings, path, run, announce))
            probing = demo.prober(probe, tasks, 1, share=PROBED)
            await clients.send(islice(messages, int(pace.rate * pace.seconds)), rate=pace.rate, on_acked=probing)
            watching.cancel()
    return run


async def _watch(settings: Settings, path: RunningPath, run: Run, announce: Announce) -> None:
    """Read the memory now and then, tell every minute how it goes, and fail as soon as a service has ended."""
    told_at = 0.0
    while True:
        for service in path.running:
            service.check()
        run.diary.add(read_processes(path.pids(settings), apart=True))
        if run.diary.seconds[-1] >= told_at + _TOLD_SECONDS:
            told_at = run.diary.seconds[-1]
            announce(run.told())
        await asyncio.sleep(min(_SAMPLE_SECONDS, run.pace.seconds / _SAMPLES))


def visits(baskets: Sequence[Basket]) -> Iterator[Message]:
    """Yield the messages of all visits over and over, those of a household by its people in turns; ids stay distinct."""
    draw, came = random.Random(1), Counter[str]()  # noqa: S311 - a repeatable simulation
    for lap in count():
        for basket in baskets:
            person = came[basket.user_id] % PEOPLE_A_HOUSEHOLD
            came[basket.user_id] += 1
            name = f"{basket.user_id}~{person}" if person else basket.user_id
            visit = replace(basket, user_id=name, order_id=f"{basket.order_id}~{lap}")
            yield from visit_messages(visit, draw, Mischief(0, 0, 0))


def windows(samples: Iterable[dict[str, float]], *, window: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return the percentiles in ms of the first and of the last `window` seconds."""
    posted = sorted((sample["posted_at"], sample["total"]) for sample in samples)
    if not posted:
        return {}, {}
    begin, end = posted[0][0] + window, posted[-1][0] - window
    return percentiles_ms([t for at, t in posted if at <= begin]), percentiles_ms([t for at, t in posted if at >= end])


def batch_seconds(
    reports: Sequence[BatchReport], begun: float, seconds: float, *, window: float
) -> dict[str, float | None]:
    """Return the median time of the batches that began in the first and in the last `window` of a run; None without any."""
    at = np.array([datetime.fromisoformat(report.began_at).timestamp() - begun for report in reports])
    took = np.array([report.ms / 1000 for report in reports])
    parts = {"first": (at >= 0) & (at <= window), "last": (at >= seconds - window) & (at <= seconds)}
    return {
        name: round(float(np.median(took[is_there])), 3) if is_there.any() else None for name, is_there in parts.items()
    }


def compare_counts(spark: SparkSession, settings: Settings, *, acked: int) -> dict[str, int]:
    """Return how many of the acknowledged messages are nowhere, and what the ledger finds wrong; all must be 0.

    Returns
    -------
    dict
        `acked`; `in_kafka`; `consumed` by ingest; `lost`: acked and neither event nor late event; `doubled`: stored more than
        once; the faults of `check_ledger`.
    """
    from jobs import ingest_events  # noqa: PLC0415 - jobs import connectors, we sit above

    tables = [read_table(spark, settings, name).where(F.col("query") == ingest_events.QUERY) for name in
              ("events", "late_events", "ledger")]  # fmt: skip
    ids = tables[0].select("event_id").unionByName(tables[1].select("event_id"))
    stored, distinct = ids.count(), ids.distinct().count()
    consumed = tables[2].agg(F.coalesce(F.sum("consumed"), F.lit(0)).alias("n")).collect()[0].n
    faults = check_ledger(spark, settings)
    ends = end_offsets(settings.kafka.bootstrap_servers, settings.kafka.events_topic)
    return {
        "acked": acked,
        "in_kafka": sum(ends.values()),
        "consumed": consumed,
        "lost": acked - distinct,
        "doubled": stored - distinct,
        **{name: faults[name] for name in FAULTS},
    }


def redis_figures(settings: Settings) -> tuple[int, int]:
    """Return bytes in use, and people with a history."""
    client = redis_store.connect(settings.redis).client
    pattern = redis_store.history_key(settings.redis.prefix, "*")
    people = sum(1 for _ in client.scan_iter(match=pattern, count=1_000))
    return int(client.info("memory")["used_memory"]), people
