"""Ids kept between batches decide what reading the tables would: against a plain model of the rule."""

import contextlib
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from afterclick.connectors import accepted_events, delta_tables
from afterclick.connectors.recent_events import RecentEvents
from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings
from builders import NOW, kafka_rows, make_message
from jobs.ingest_events import write_events
from nightly import NIGHTLY

ITEMS = ("mug", "pen")
WINDOW = 2
Event = tuple[str, str, int]
"""Id, item and hours before `NOW` at which it was received."""
Counts = tuple[int, int, int, int]
"""Events, late events, duplicates, reused ids."""


def message(event: Event) -> dict[str, Any]:
    event_id, item, hours = event
    at = (NOW - timedelta(hours=hours)).isoformat().replace("+00:00", "Z")
    items = [{"item_id": item, "quantity": None, "price": None}]
    return make_message(event_id=event_id, items=items, event_at=at, received_at=at)


class Model:
    """What the tables hold, and what a batch of messages adds; one partition, in the order of the offsets."""

    def __init__(self) -> None:
        self.stored: list[tuple[Event, int]] = []
        self.newest_hours = 1_000

    def take(self, events: list[Event], batch_id: int, *, is_ordered: bool = True) -> Counts:
        since = max(hours for _, _, hours in events) + WINDOW
        known = [event[:2] for event, _ in self.stored if event[2] <= since]
        first = {event_id: "" for event_id, _ in known}
        counts = [0, 0, 0, 0]
        for event in events:
            event_id, item, hours = event
            is_late = is_ordered and hours > self.newest_hours
            if is_ordered:
                self.newest_hours = min(hours, self.newest_hours)
            is_reused = first.setdefault(event_id, item) != item
            if (event_id, item) in known:
                counts[2] += 1
                continue
            known.append((event_id, item))
            counts[int(is_late)] += 1
            counts[3] += is_reused
            self.stored.append((event, batch_id))
        return counts[0], counts[1], counts[2], counts[3]


class Ingest:
    """One query with its kept state; `reads` counts how often each batch read the tables."""

    def __init__(
        self, spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch, most: int = 1_000
    ) -> None:
        streams = settings.streams.model_copy(update={"duplicate_window_hours": WINDOW, "known_ids": most})
        self.spark, self.settings = spark, settings.model_copy(update={"streams": streams})
        self.offset, self.reads = 0, 0
        self.suite = read_suite(settings.suite_path("events"))
        self.restart()
        read = accepted_events._read_stored  # noqa: SLF001

        def counted(*arguments: Any) -> Any:
            self.reads += 1
            return read(*arguments)

        monkeypatch.setattr(accepted_events, "_read_stored", counted)

    def restart(self) -> None:
        self.clock, self.recent = EventClock(), RecentEvents(self.settings.streams.known_ids)

    def take(self, events: list[Event], batch_id: int, offset: int | None = None) -> int:
        rows = kafka_rows(self.spark, map(message, events), first_offset=self.offset if offset is None else offset)
        checked, before = flag_violations(decode_events(rows), self.suite), self.reads
        write_events(checked, batch_id, settings=self.settings, clock=self.clock, recent=self.recent)
        if offset is None:
            self.offset += len(events)
        return self.reads - before

    def write_beside(self, events: list[Event], query: str) -> None:
        checked = flag_violations(decode_events(kafka_rows(self.spark, map(message, events))), self.suite)
        write_events(checked, 0, settings=self.settings, clock=None, query=query)

    def counted(self, batch_id: int) -> Counts:
        ledger = delta_tables.read_table(self.spark, self.settings, "ledger")
        row = ledger.where(f"query = 'ingest_events' AND batch_id = {batch_id}").collect()[0]
        return row.events, row.late_events, row.duplicates, row.reused_ids

    def stored(self) -> list[tuple[Any, ...]]:
        read = (delta_tables.read_table(self.spark, self.settings, name) for name in ("events", "late_events"))
        rows = [row for table in read for row in table.select("event_id", "items", "received_at").collect()]
        return sorted((row.event_id, row.items[0].item_id, row.received_at) for row in rows)


def test_an_ordinary_batch_reads_no_table_and_one_with_a_repetition_does(
    spark: SparkSession, tables: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one finds tables of an unknown version, the second one reads their ids."""
    ingest = Ingest(spark, tables, monkeypatch)

    reads = [ingest.take([(f"{batch_id}-{n}", "mug", 0) for n in range(3)], batch_id) for batch_id in range(4)]
    again = ingest.take([("1-0", "mug", 0), ("0-0", "pen", 0), ("new", "mug", 0)], 4)

    assert reads == [1, 1, 0, 0]
    assert again == 1
    assert ingest.counted(4) == (2, 0, 1, 1)


def test_more_ids_than_allowed_are_not_kept(
    spark: SparkSession, tables: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = Ingest(spark, tables, monkeypatch, most=5)

    reads = [ingest.take([(f"{batch_id}-{n}", "mug", 0) for n in range(2)], batch_id) for batch_id in range(4)]
    again = ingest.take([("0-0", "mug", 0)], 4)

    assert (*reads, again) == (1, 1, 0, 1, 1)
    assert ingest.counted(4) == (0, 0, 1, 0)


def test_an_older_message_than_the_window_of_the_batch_before_is_looked_for_in_the_tables(
    spark: SparkSession, tables: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = Ingest(spark, tables, monkeypatch)
    for batch_id, events in enumerate([[("old", "mug", 9)], [("a", "mug", 0)], [("b", "mug", 0)], [("c", "mug", 0)]]):
        ingest.take(events, batch_id)

    reads = ingest.take([("old", "mug", 9), ("d", "mug", 0)], 4)

    assert reads == 1
    assert ingest.counted(4) == (1, 0, 1, 0)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, *[pytest.param(seed, marks=NIGHTLY) for seed in range(2, 6)]])
def test_any_course_of_batches_writers_and_crashes_gives_the_fates_of_the_rule(
    spark: SparkSession, tables: Settings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw, model, ingest = random.Random(seed), Model(), Ingest(spark, tables, monkeypatch)
    path = delta_tables.table_path(tables, "events")
    between: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "restart": ingest.restart,
        "optimize": lambda: spark.sql(f"OPTIMIZE delta.`{path}`"),
        "erasure": lambda: _erase(spark, path, model),
        "import": lambda: _import(ingest, model, [("a", "mug", draw.randrange(3)), ("imported", "pen", 0)]),
    }
    course = ["nothing", "nothing", "nothing", *draw.sample([*between] * 2, 7)]
    for batch_id, event in enumerate(course):
        between[event]()
        ids, hours = "abcdefgh" + "ijkl"[: batch_id % 5], range(max(0, 4 - batch_id), 6)
        events = [(draw.choice(ids), draw.choice(ITEMS), draw.choice(hours)) for _ in range(draw.randrange(1, 7))]
        offset = ingest.offset
        if draw.random() < 0.3:
            _crash(ingest, events, batch_id, monkeypatch, after=draw.choice(["events", "ledger"]))
        ingest.take(events, batch_id)
        if draw.random() < 0.3:
            ingest.take(events, batch_id, offset)  # twice: the commit of its batch was lost

        assert ingest.counted(batch_id) == model.take(events, batch_id), (event, batch_id, events)

    assert ingest.stored() == sorted(
        (event_id, item, (NOW - timedelta(hours=hours)).replace(tzinfo=None))
        for (event_id, item, hours), _ in model.stored
    )


def _erase(spark: SparkSession, path: str, model: Model) -> None:
    DeltaTable.forPath(spark, path).delete("event_id = 'b'")
    DeltaTable.forPath(spark, path.replace("/events", "/late_events")).delete("event_id = 'b'")
    model.stored = [(event, batch_id) for event, batch_id in model.stored if event[0] != "b"]


def _import(ingest: Ingest, model: Model, events: list[Event]) -> None:
    number = sum(batch_id < 0 for _, batch_id in model.stored)
    ingest.write_beside(events, f"import_{number}_{len(model.stored)}")
    model.take(events, -1, is_ordered=False)


def _crash(ingest: Ingest, events: list[Event], batch_id: int, monkeypatch: pytest.MonkeyPatch, *, after: str) -> None:
    append_once = delta_tables.append_once

    def append_and_crash(*rows: Any, table: str, **more: Any) -> None:
        append_once(*rows, table=table, **more)
        if table == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(delta_tables, "append_once", append_and_crash)
        ingest.take(events, batch_id, ingest.offset)
