"""Any course of batches, other writers, crashes and restarts: what is read for a batch is what the whole window would tell.

No Spark: tables are lists, and a commit is a file in the log of a table's folder.
"""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from afterclick.arrived import Arrived
from afterclick.connectors import recent_events
from afterclick.connectors.delta_tables import table_path, transaction_id
from afterclick.connectors.recent_events import RecentEvents
from afterclick.decided_fates import Fates
from afterclick.event_fates import NO_FATES, Batch
from afterclick.settings import Settings
from unit.test_arrived import HOUR_US, make_arrived

TABLES = ("events", "late_events")
WINDOW, FIRST_HOUR = 3, 400_000


class Event(NamedTuple):
    """A stored event: the hash of its id, its hour of receipt and the batch that stored it."""

    id_hash: int
    hour: int
    batch_id: int


class Lake:
    """The two tables and their logs."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.reads = settings, 0
        self.rows: dict[str, list[Event]] = {table: [] for table in TABLES}
        self.versions = dict.fromkeys(TABLES, -1)
        for table in TABLES:
            Path(table_path(settings, table), "_delta_log").mkdir(parents=True)
            self.commit(table, {"commitInfo": {"operation": "CREATE TABLE"}})

    def commit(self, table: str, *actions: dict[str, Any]) -> None:
        self.versions[table] += 1
        file = Path(table_path(self.settings, table), "_delta_log", f"{self.versions[table]:020d}.json")
        file.write_text("\n".join(map(json.dumps, actions)))

    def append(self, table: str, events: list[Event], query: str, batch_id: int) -> None:
        """As `delta_tables.append_once`: nothing where the batch is there already."""
        if events and not any(event.batch_id == batch_id for event in self.rows[table]):
            self.rows[table] += events
            self.commit(table, {"txn": {"appId": transaction_id(self.settings, query, table), "version": batch_id}})

    def stored(self) -> list[Event]:
        self.reads += 1
        return [event for rows in self.rows.values() for event in rows]


@pytest.fixture
def lake(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Lake:
    def received_from(stored: list[Event], hour: int, last_hour: int | None = None) -> list[Event]:
        return [event for event in stored if hour <= event.hour <= (last_hour or event.hour)]

    def read_window(rows: list[Event], most: int) -> Any:
        columns = np.array([event[:2] for event in rows], np.int64).reshape(-1, 2)
        return None if len(rows) > most else (columns[:, 0], columns[:, 1])

    monkeypatch.setattr(recent_events, "received_from", received_from)
    monkeypatch.setattr(recent_events, "_read_window", read_window)
    return Lake(settings)


def arrived_of(events: list[Event]) -> Arrived:
    arrived = make_arrived([(0, 0, f"{event.id_hash}", 1) for event in events])
    arrived.id_hash[:] = [event.id_hash for event in events]
    arrived.received_us[:] = [event.hour * HOUR_US for event in events]
    return arrived


def decide(
    lake: Lake, recent: RecentEvents, events: list[Event], *, crash: str = ""
) -> tuple[list[Event], list[Event]]:
    """Write a batch; return what it met, and what it would have met in the whole window."""
    arrived, batch_id = arrived_of(events), events[0].batch_id
    since_hour = min(event.hour for event in events) - WINDOW
    known, may_be_known = recent.narrow(lake.stored, arrived, lake.settings, since_hour=since_hour)  # type: ignore[arg-type]
    asked = {event.id_hash for row, event in enumerate(events) if may_be_known is None or may_be_known[row]}
    read: Any = known or []
    met = [event for event in read if event.id_hash in asked and event.batch_id != batch_id]
    of_window = [event for table in TABLES for event in lake.rows[table] if event.hour >= since_hour]
    ids = {event.id_hash for event in events}
    expected = [event for event in of_window if event.id_hash in ids and event.batch_id != batch_id]
    is_stored = np.array([event.id_hash not in {one.id_hash for one in expected} for event in events])
    fates = ["late_events" if event.id_hash % 7 == 0 else "events" for event in events]
    parts = {
        table: [event for event, fate, kept in zip(events, fates, is_stored, strict=True) if kept and fate == table]
        for table in TABLES
    }
    for table, rows in parts.items():
        lake.append(table, rows, "ingest_events", batch_id)
        if crash == table:
            return met, expected
    counts = NO_FATES | {table: len(rows) for table, rows in parts.items()}
    recent.keep(arrived, Fates(None, counts, is_stored), Batch("ingest_events", "1", batch_id), lake.settings)  # type: ignore[arg-type]
    return met, expected


@pytest.mark.parametrize("most", [10_000, 60, 0])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_read_is_what_the_whole_window_tells(lake: Lake, seed: int, most: int) -> None:
    draw, recent = random.Random(seed), RecentEvents(most)
    for batch_id in range(40):
        oldest = FIRST_HOUR + batch_id // 5 - draw.choice([0, 0, 0, 1, 4])
        events = [
            Event(draw.randrange(200), draw.randrange(oldest, FIRST_HOUR + batch_id // 5 + 1), batch_id)
            for _ in range(draw.randrange(1, 8))
        ]
        another = draw.choice(["nobody"] * 6 + ["import", "erasure", "optimize", "restart"])
        table = draw.choice(TABLES)
        if another == "import":
            hour = FIRST_HOUR + batch_id // 5
            lake.append(table, [Event(draw.choice(events).id_hash, hour, -batch_id - 1)], "import_1", -batch_id - 1)
        elif another == "erasure":
            lake.rows[table] = [event for event in lake.rows[table] if event.id_hash % 11]
            lake.commit(table, {"commitInfo": {"operation": "DELETE"}})
        elif another == "optimize":
            lake.commit(table, {"commitInfo": {"operation": "OPTIMIZE"}})
        elif another == "restart":
            recent = RecentEvents(most)
        attempts = [draw.choice(["", "", "", *TABLES])] + [""] * draw.choice([1, 1, 2])
        for crash in attempts:
            met, expected = decide(lake, recent, events, crash=crash)
            assert Counter(met) == Counter(expected), (batch_id, another, crash)


def test_batches_that_repeat_nothing_read_nothing_once_the_ids_are_there(lake: Lake) -> None:
    recent, reads = RecentEvents(1_000), []
    for batch_id in range(6):
        if batch_id == 4:
            lake.commit("late_events", {"commitInfo": {"operation": "OPTIMIZE"}})
        before = lake.reads
        decide(lake, recent, [Event(10 * batch_id + n, FIRST_HOUR, batch_id) for n in range(8)])
        reads.append(lake.reads - before)

    assert reads == [1, 1, 0, 0, 1, 1]


def test_a_table_that_is_rewritten_after_each_batch_is_read_once_a_batch_as_without_ids(lake: Lake) -> None:
    recent = RecentEvents(1_000)
    for batch_id in range(5):
        decide(lake, recent, [Event(batch_id, FIRST_HOUR, batch_id)])
        lake.commit("events", {"commitInfo": {"operation": "OPTIMIZE"}})

    assert lake.reads == 5
