"""How the cost of a micro-batch grows with what there is: people, items, history, open sessions, versions, events stored.

Each curve is measured at sizes ten times apart; `exponent` is the slope of log time over log size (0 = does not grow,
1 = linear), fitted by least squares; `step` the largest growth of time for ten times the size.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.arrived import UNORDERED
from afterclick.benchmarks import ingest, open_sessions, rank
from afterclick.benchmarks.interleaved import median_seconds
from afterclick.benchmarks.people import VERSION, write_people
from afterclick.connectors import delta_tables, redis_store
from afterclick.connectors.redis_store import Fence
from afterclick.event_fates import NO_FATES, Batch, ledger_row
from afterclick.local.demo import demo_session
from afterclick.recommendations import update_lists
from afterclick.schemas import STORED_EVENT
from afterclick.served_model import read_recommender
from afterclick.settings import Settings

Announce = Callable[[str], None]
REACH = 1.3
"""Most growth of a batch's time for ten times the size."""
_TOUCHED = 50
"""People of a micro-batch."""
_INGESTED = 2_000
"""Messages of a batch."""


def measure(settings: Settings, *, announce: Announce, quick: bool = False) -> dict[str, Any]:
    """Return a curve for each dimension; `ratio` is `REACH` over the worst step."""
    tenth = 10 if quick else 1
    curves = {
        "people_stored": _people(settings, [1_000 // tenth, 10_000 // tenth, 100_000 // tenth], announce),
        **_items([4_000 // tenth, 40_000 // tenth, 400_000 // tenth], announce),
        "history": _history(settings, [20, 200], announce),
        "open_sessions": _open_sessions([10_000 // tenth, 100_000 // tenth, 1_000_000 // tenth], announce),
        "table_versions": _versions(settings, [1, 5] if quick else [1, 10, 100], announce, before=1 if quick else 10),
        "events_stored": _stored(
            settings, [1_000, 10_000] if quick else [10_000, 100_000, 1_000_000], announce, runs=1 if quick else 3
        ),
    }
    worst = max(curve["step"] for curve in curves.values())
    return {"measured": worst, "baseline": REACH, "ratio": round(REACH / worst, 3), "runs": 5, "curves": curves}


def fitted(sizes: Sequence[int], seconds: Sequence[float]) -> dict[str, Any]:
    """Return the curve with its exponent and largest step."""
    slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    tens = [
        (later / before) ** (np.log(10) / np.log(more / less))
        for less, more, before, later in zip(sizes, sizes[1:], seconds, seconds[1:], strict=False)
    ]
    return {
        "ms": {str(size): round(value * 1000, 2) for size, value in zip(sizes, seconds, strict=True)},
        "exponent": round(float(slope), 3),
        "step": round(float(max(tens)), 3),
    }


def interactions(subjects: Sequence[str], at_ms: int) -> pa.Table:
    """Return a view of each, of as many items, as rows of `schemas.INTERACTION`."""
    return pa.table(
        {
            "subject_id": list(subjects),
            "item_id": [f"item-{number:06d}" for number in range(len(subjects))],
            "event_type": ["view"] * len(subjects),
            "event_ms": [at_ms] * len(subjects),
            "received_ms": [at_ms] * len(subjects),
        }
    )


def update_seconds(settings: Settings, subjects: Sequence[str]) -> float:
    """Return the time of a micro-batch of people who are stored already: read, fold in, rank, write."""
    store, recommender = redis_store.connect(settings.redis), read_recommender(settings, VERSION)
    numbers = iter(range(2, 1_000))

    def update() -> None:
        number, now_ms = next(numbers), int(time.time() * 1000)
        update_lists(
            interactions(subjects, now_ms), recommender, store, length=200, fence=Fence(1, number), now_ms=now_ms
        )

    return median_seconds(update)


def _people(settings: Settings, sizes: Sequence[int], announce: Announce) -> dict[str, Any]:
    seconds = []
    for size in sizes:
        announce(f"{size:,} people stored")
        subjects = write_people(settings, size)
        seconds.append(update_seconds(settings, subjects[:: max(1, size // _TOUCHED)][:_TOUCHED]))
    return fitted(sizes, seconds)


def _history(settings: Settings, sizes: Sequence[int], announce: Announce) -> dict[str, Any]:
    seconds = []
    for size in sizes:
        announce(f"histories of {size}")
        seconds.append(update_seconds(settings, write_people(settings, _TOUCHED, interactions=size)))
    return fitted(sizes, seconds)


def _items(sizes: Sequence[int], announce: Announce) -> dict[str, Any]:
    """Return the curve of catalogues with a long tail and that of the worst case, items that are all about as popular."""
    found = rank.measure(announce=announce, catalogues=sizes, runs=5)
    kinds = {"items": found["long_tail_by_items"], "items_all_as_popular": found["by_items"]}
    return {
        name: fitted(sizes, [figures[size]["numpy"]["measured_s"] for size in sizes]) for name, figures in kinds.items()
    }


def _open_sessions(sizes: Sequence[int], announce: Announce) -> dict[str, Any]:
    batch = min(5_000, *sizes)
    found = [open_sessions.measure(announce=announce, sessions=size, batch=batch, runs=3) for size in sizes]
    return fitted(sizes, [figures["measured"] for figures in found])


def _versions(settings: Settings, sizes: Sequence[int], announce: Announce, *, before: int) -> dict[str, Any]:
    """Measure an append to a table of so many commits."""
    seconds = []
    with demo_session(settings) as spark:
        delta_tables.ensure_tables(spark, settings, ["ledger"])
        numbers = iter(range(100_000))
        for _ in range(before):  # compiled code, before anything counts
            _append(spark, settings, next(numbers))
        for size in sizes:
            announce(f"{size} commits more")
            for _ in range(size):
                _append(spark, settings, next(numbers))
            seconds.append(median_seconds(lambda: _append(spark, settings, next(numbers))))
    return fitted(sizes, seconds)


def _stored(settings: Settings, sizes: Sequence[int], announce: Announce, *, runs: int) -> dict[str, Any]:
    """Measure a batch of new messages through ingest, with so many events that were received within the last hour."""
    begins_at, numbers = datetime.now(UTC) - timedelta(hours=1), iter(range(100))
    write, seconds, stored = ingest.batch_writer(settings), list[float](), 0

    def take(spark: SparkSession) -> None:
        number = next(numbers)
        write(ingest.judged(spark, settings, f"growth-{number}"), number)

    for number in range(len(sizes) * (runs + 2)):
        ingest.send(settings, f"growth-{number}", number * _INGESTED, _INGESTED, begins_at)
    with demo_session(settings) as spark:
        delta_tables.ensure_tables(spark, settings)
        for size in sizes:
            announce(f"{size:,} events stored")
            rows = _events(spark, stored, size, begins_at)
            delta_tables.append_once(rows, settings, query="growth", table="events", batch_id=size)
            stored = size
            take(spark)  # the tables were written by another: this batch reads them all, the next one its ids
            seconds.append(median_seconds(partial(take, spark), runs))
    return fitted(sizes, seconds)


def _events(spark: SparkSession, first: int, end: int, received_from: datetime) -> DataFrame:
    received = F.lit(received_from) + F.make_interval(secs=F.col("id") % 3_600)
    known = {
        "event_id": F.expr("uuid()"),
        "event_type": F.lit("view"),
        "subject_id": F.format_string("%032x", F.col("id") % 20_000),
        "event_at": received,
        "received_at": received,
        "consent": F.array(F.lit("analytics")),
        "event_date": F.to_date(received),
        "payload_hash": F.xxhash64("id"),
        "query": F.lit("growth"),
        "batch_id": F.lit(0),
    }
    columns = [known.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name) for field in STORED_EVENT]
    return spark.range(first, end).select(columns)


def _append(spark: SparkSession, settings: Settings, number: int) -> None:
    row = ledger_row(spark, NO_FATES, UNORDERED, Batch("growth", "1", number))
    delta_tables.append_once(row, settings, query="growth", table="ledger", batch_id=number)
