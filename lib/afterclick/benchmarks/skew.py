"""Half of the traffic from one subject: how fresh others' lists stay, and what sampling leaves of the counts.

Phases with and without the subject in turns, in one run of the whole path at one total rate. All visits end two hours
ago, and one event of now is the last: it closes every session, so that sessions can be compared with the stored events.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.benchmarks.whole_path import (
    POLL_SECONDS,
    POST_SIZE,
    PROBED,
    Pace,
    RunningPath,
    hurried,
    open_clients,
    running_path,
)
from afterclick.connectors.accepted_events import read_accepted
from afterclick.connectors.delta_tables import read_table
from afterclick.connectors.subject_store import open_subject_store
from afterclick.faults.load import iso
from afterclick.local import demo
from afterclick.local.complete_journey import SHOWN_HOUSEHOLDS
from afterclick.local.draining import wait_until_drained
from afterclick.local.freshness import FreshnessProbe, percentiles_ms
from afterclick.local.sender import Message
from afterclick.local.simulator import GRANTED, Mischief
from afterclick.pseudonyms import RawId
from afterclick.settings import Settings

BOT = "bot"
PHASES = (False, True, True, False)
"""Whether the subject sends: in this order a machine that gets slower is slower for both."""
SETTLE_SECONDS = 15
"""At the begin of a phase, not measured."""
_QUICK_SETTLE_SECONDS = 1
DRAINING_SECONDS = 1_800
"""The bulk streams work in idle time, so on a busy machine a backlog takes long."""
SAMPLE_AFTER_SECONDS = 15
"""Half of what waits for the sessions' trigger waits longer, so both ways of sampling are in the figures."""
HOT_SUBJECT_SECONDS = 4
"""The bound of a person's low-value events a batch, in seconds of the whole traffic: at 500/s the 2,000 of the settings."""
_COUNTED = {
    "view": "view_count", "cart": "cart_count", "purchase": "purchase_count", "remove_from_cart": "removal_count",
    "page": "page_count",
}  # fmt: skip
_PRIORITY = ("cart", "purchase", "remove_from_cart", "identify")


def measure(settings: Settings, pace: Pace, *, announce: demo.Announce) -> dict[str, Any]:
    """Run the whole path at a pace, for its seconds with and as long without the subject.

    Returns
    -------
    dict
        `baseline` and `skewed`: p50, p95, p99 in ms of others' freshness; `ratio` of the p99; `counts`, see `compare_counts`.
    """
    begun_at, rate, settings = datetime.now(UTC), pace.rate, hurried(settings, pace)
    variables = {
        "AFTERCLICK_LOAD__SAMPLE_AFTER_SECONDS": str(SAMPLE_AFTER_SECONDS),
        "AFTERCLICK_LOAD__HOT_SUBJECT_EVENTS": str(max(1, round(HOT_SUBJECT_SECONDS * rate))),
    }
    with running_path(
        settings, announce, households=SHOWN_HOUSEHOLDS, bulk_variables=variables, is_quick=pace.is_quick
    ) as path:
        probes = asyncio.run(_send(settings, path, pace, announce))
    announce("comparing sessions with the stored events")
    bot = open_subject_store(settings).find(RawId("user", BOT))
    with demo.demo_session(settings) as spark:
        counts = compare_counts(spark, settings, since=begun_at, hot_subject=bot.subject_id if bot else "")
    totals = {is_hot: [s["total"] for s in probe.samples] for is_hot, probe in probes.items()}
    baseline, skewed = (percentiles_ms(totals[is_hot]) for is_hot in (False, True))
    return {
        "baseline": baseline,
        "skewed": skewed,
        "ratio": round(skewed["p99"] / baseline["p99"], 3) if baseline and skewed else None,
        "samples": [len(totals[False]), len(totals[True])],
        "missed": [probes[False].missed, probes[True].missed],
        "counts": counts,
        "rate": rate,
    }


async def _send(
    settings: Settings, path: RunningPath, pace: Pace, announce: demo.Announce
) -> dict[bool, FreshnessProbe]:
    rate, warm, phase = pace.rate, int(pace.rate * pace.warm_up), pace.seconds * 2 / len(PHASES)
    settle = _QUICK_SETTLE_SECONDS if pace.is_quick else SETTLE_SECONDS
    plan = demo.DemoPlan(
        events=warm + int(rate * len(PHASES) * (settle + phase)), rate=rate, mischief=Mischief(0, 0, 0)
    )
    messages = iter(demo.planned_messages(path.baskets, plan, now=datetime.now(UTC) - timedelta(hours=2)))
    numbers = iter(range(plan.events))
    async with open_clients(settings) as clients, asyncio.TaskGroup() as tasks:
        probes = {is_hot: FreshnessProbe(clients.to_api, poll_seconds=POLL_SECONDS) for is_hot in (False, True)}
        announce(f"sending {rate:g}/s: {pace.warm_up:g} s, then {len(PHASES)} times {settle} + {phase:g} s")
        await clients.send(islice(messages, warm), rate=rate)
        for number, is_hot in enumerate(PHASES):
            announce(f"phase {number + 1}: {'half from one subject' if is_hot else 'without the subject'}")
            sent = with_hot_subject(messages, numbers) if is_hot else messages
            await clients.send(islice(sent, _whole_posts(rate * settle)), rate=rate)
            probing = demo.prober(probes[is_hot], tasks, plan.seed + number, share=PROBED)
            await clients.send(islice(sent, _whole_posts(rate * phase)), rate=rate, on_acked=probing)
        await clients.send([closing_message(datetime.now(UTC))], rate=0)
    announce("waiting until all of it has its fate")
    await wait_until_drained(settings, path.running, demo.QUERIES, seconds=DRAINING_SECONDS)
    return probes


def _whole_posts(events: float) -> int:
    """Return a number of events that fills posts, whose last, which is probed, is then never the hot subject's."""
    return int(events) // POST_SIZE * POST_SIZE


def with_hot_subject(messages: Iterator[Message], numbers: Iterator[int]) -> Iterator[Message]:
    """Yield a message of the hot subject before each: mostly views, some carts and orders, and who it is."""
    for message in messages:
        number = next(numbers)
        own = {**message, "userId": BOT, "messageId": f"{BOT}-{number}", "context": {"consent": GRANTED}}
        if number % 200 == 0:
            yield {**own, "type": "identify", "traits": {}}
        elif message["event"] != "Order Completed":
            yield {**own, "event": "Product Added" if number % 50 == 0 else "Product Viewed"}
        else:
            yield own
        yield message


def closing_message(now: datetime) -> Message:
    """Return an event of `now` that closes every session; of a type that is never sampled, or it would close none."""
    return {
        "type": "identify",
        "userId": "nobody else",
        "messageId": "closing",
        "originalTimestamp": iso(now),
        "context": {"consent": GRANTED},
        "traits": {},
    }


def compare_counts(spark: SparkSession, settings: Settings, *, since: datetime, hot_subject: str) -> dict[str, Any]:
    """Return what sessions hold of the accepted events, of all people and of the hot one.

    Parameters
    ----------
    since
        Events received before it are history, which no session holds; one that happened after it closes the sessions.

    Returns
    -------
    dict
        ``all`` and ``hot``: `kept_counts` of each. `flagged`: people in ``hot_subjects``.
    """
    is_live = (F.col("received_at") >= F.lit(since)) & (F.col("event_at") < F.lit(since))
    tables = [
        read_accepted(spark, settings).where(is_live),
        *[read_table(spark, settings, name) for name in ("sessions", "unsessioned_events")],
    ]
    flagged = read_table(spark, settings, "hot_subjects").select("subject_id").distinct().collect()
    return {
        "all": kept_counts(*tables),
        "hot": kept_counts(*[table.where(F.col("subject_id") == hot_subject) for table in tables]),
        "flagged": len(flagged),
        "only_the_hot_one_is_flagged": [row.subject_id for row in flagged] == [hot_subject],
    }


def kept_counts(events: DataFrame, sessions: DataFrame, late: DataFrame) -> dict[str, Any]:
    """Return how much of the events sessions and late events hold.

    Returns
    -------
    dict
        `events`; `kept`, the share of them; `scaled_error`, how far the count scaled back by the rates is from the truth;
        `priority` events, and how many of each type are neither in a session nor set aside as late, `priority_lost`.
    """
    truth = {row.event_type: row["count"] for row in events.groupBy("event_type").count().collect()}
    aside = {row.event_type: row["count"] for row in late.groupBy("event_type").count().collect()}
    late_estimate = late.agg(F.coalesce(F.sum(1 / F.col("sample_rate")), F.lit(0.0)).alias("n")).collect()[0].n
    names = (*_COUNTED.values(), "event_count", "estimated_event_count")
    sums = sessions.agg(*[F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in names]).collect()[0].asDict()
    total = sum(truth.values())
    in_sessions = {kind: sums[name] for kind, name in _COUNTED.items()}
    in_sessions["identify"] = sums["event_count"] - sum(in_sessions.values())  # nothing else is sent
    lost = {kind: truth.get(kind, 0) - in_sessions[kind] - aside.get(kind, 0) for kind in _PRIORITY}
    return {
        "events": total,
        "kept": round((sums["event_count"] + sum(aside.values())) / total, 4),
        "scaled_error": round((sums["estimated_event_count"] + late_estimate) / total - 1, 5),
        "priority": sum(truth.get(kind, 0) for kind in _PRIORITY),
        "priority_lost": lost,
    }
