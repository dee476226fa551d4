"""After the nightly repair the sessions are those of all events in order, whatever came late or under another pseudonym."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.connectors.erasure_store import ErasureStore
from afterclick.connectors.subject_store import open_subject_store
from afterclick.consent_rules import Claim
from afterclick.pseudonyms import RawId
from afterclick.schemas import STORED_EVENT
from afterclick.schemas_sessions import SESSION, UNSESSIONED_EVENT
from afterclick.session_repair import REPAIRING, Known, recut
from afterclick.session_shards import ARRIVING, Cutting, advance_shard, closed_frame
from afterclick.session_state import Shard
from afterclick.settings import Settings
from builders import rows_of
from jobs.repair_sessions import repair_sessions

START = datetime(2026, 11, 20, tzinfo=UTC)
START_US = round(START.timestamp() * 1_000_000)
MINUTE = 60_000_000
CUTTING = Cutting(30 * MINUTE)
WATERMARK = 10
CLOCK = "c" * 32
"""Somebody whose late events close everybody's sessions."""
BRIDGED = ((0, 0), (50, 50), (25, 300))
"""(happened, arrived) in minutes: two closed sessions, then the event between them."""


class Event(NamedTuple):
    """One event: times in minutes after `START`; `person` is the pseudonym that stands for `subject`."""

    event_id: str
    subject: str
    person: str
    at: int
    arrived: int
    is_order: bool


class Recorded(NamedTuple):
    """What the stream left behind."""

    sessions: pa.Table
    late: pa.Table


Session = tuple[str, int, int, int, float]
"""Subject, start and end in microseconds, events, order value."""


def history(draw: random.Random, person: str, earlier: str | None = None) -> Iterator[Event]:
    """Yield visits of a person who may be known by an earlier pseudonym until they sign in."""
    signs_in = draw.randrange(600) if earlier else 0
    times = BRIDGED if draw.random() < 0.2 else [(draw.randrange(600), -1) for _ in range(draw.randrange(1, 25))]
    for number, (at, arrived) in enumerate(times):
        delay = draw.randrange(400) if draw.random() < 0.25 else draw.randrange(5)
        subject = earlier if earlier and at < signs_in else person
        arrives = arrived if arrived >= 0 else at + delay
        yield Event(f"{person}-{number}", subject, person, at, arrives, draw.random() < 0.1)


def closing() -> list[Event]:
    """Return what moves the clock: the first one's session says that all others are closed."""
    return [Event(f"clock-{at}", CLOCK, CLOCK, at, at, is_order=False) for at in (2000, 4000, 6000)]


def as_arriving(events: Iterable[Event], **more: list[Any]) -> pa.Table:
    rows = [
        {
            "subject_id": one.subject, "event_key": hash(one.event_id), "event_id": one.event_id,
            "event_type": "purchase" if one.is_order else "view", "event_us": START_US + one.at * MINUTE,
            "received_us": START_US + one.arrived * MINUTE, "value": 2.0, "item_ids": ["mug"], "sample_rate": 1.0,
        }
        for one in events
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=ARRIVING)
    return table if not more else pa.table({**more, **dict(zip(table.column_names, table.columns, strict=True))})


def stream(events: list[Event], cutting: Cutting = CUTTING) -> Recorded:
    """Run the operator over the events as they arrived, a batch each twenty minutes."""
    shard, watermark = Shard.empty(), 0
    closed: list[pa.Table] = []
    late: list[pa.Table] = []
    batches: dict[int, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda one: one.arrived):
        batches[event.arrived // 20].append(event)
    for _, batch in sorted(batches.items()):
        change = advance_shard(shard, as_arriving(batch), cutting, watermark_us=watermark)
        shard = change.shard
        closed.append(change.closed)
        late.append(change.late)
        watermark = max([watermark, *[START_US + (event.at - WATERMARK) * MINUTE for event in batch]])
    return Recorded(pa.concat_tables(closed), pa.concat_tables(late))


def plain_model(events: Iterable[Event], *, close_on_order: bool = False) -> set[Session]:
    """Cut all events in order: a visit with an event under the person's own pseudonym is all theirs."""
    by_person: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda one: (one.at, one.is_order)):
        by_person[event.person].append(event)
    runs = [run for mine in by_person.values() for run in split(mine, close_on_order=False)]
    found: set[Session] = set()
    for run in runs:
        for subject in {event.subject for event in run}:
            is_joined = any(event.subject == event.person for event in run)
            mine = run if is_joined else [event for event in run if event.subject == subject]
            for visit in split(mine, close_on_order=close_on_order):
                times = [START_US + event.at * MINUTE for event in visit]
                value = 2.0 * sum(event.is_order for event in visit)
                found.add((run[0].person if is_joined else subject, times[0], times[-1], len(visit), value))
    return found


def split(events: list[Event], *, close_on_order: bool) -> Iterator[list[Event]]:
    visit: list[Event] = []
    for event in events:
        ends = close_on_order and any(one.is_order for one in visit) and event.at > visit[-1].at
        if visit and (ends or event.at - visit[-1].at > 30):
            yield visit
            visit = []
        visit.append(event)
    yield visit


def as_set(sessions: pa.Table) -> set[Session]:
    names = ("subject_id", "started", "ended", "event_count", "order_value")
    return set(zip(*[sessions[name].to_pylist() for name in names], strict=True))


@pytest.mark.parametrize("close_on_order", [False, True])
def test_recut_gives_the_sessions_of_all_events(*, close_on_order: bool) -> None:
    """A hundred random histories: late events, bridges, pseudonyms that change in the middle of a visit."""
    draw = random.Random(7)
    cutting = Cutting(30 * MINUTE, close_on_order=close_on_order)
    bridged = 0
    for number in range(100):
        earlier = f"earlier-{number}" if number % 3 == 0 else None
        events = [*history(draw, f"person-{number}", earlier), *closing()]
        recorded = stream(events, cutting)
        late = set(recorded.late["event_id"].to_pylist())
        table = as_arriving(
            events, person=[e.person for e in events], is_late=[e.event_id in late for e in events]
        ).cast(REPAIRING)

        new = as_set(recut(table, cutting, Known(0, START_US + 2030 * MINUTE)))

        owner = {event.subject: event.person for event in events}
        kept = {
            old
            for old in as_set(recorded.sessions)
            if not any(one[0] in (old[0], owner[old[0]]) and one[1] <= old[2] and one[2] >= old[1] for one in new)
        }
        wanted = {one for one in plain_model(events, close_on_order=close_on_order) if one[0] != CLOCK}
        assert {one for one in kept | new if one[0] != CLOCK} == wanted
        bridged += any(one[1:4] == (START_US, START_US + 50 * MINUTE, 3) for one in new)
    assert bridged > 8


def test_recut_leaves_what_may_still_change_and_what_began_before() -> None:
    events = [Event("a", "ada", "ada", 100, 400, is_order=False)]
    table = as_arriving(events, person=["ada"], is_late=[True]).cast(REPAIRING)
    begin, end = START_US + 70 * MINUTE, START_US + 130 * MINUTE

    assert len(recut(table, CUTTING, Known(begin, end + 1))) == 1
    assert len(recut(table, CUTTING, Known(begin + 1, end + 1))) == 0
    assert len(recut(table, CUTTING, Known(begin, end))) == 0
    assert len(recut(table.slice(0, 0), CUTTING, Known(0, end))) == 0


def store_events(spark: SparkSession, settings: Settings, events: list[Event]) -> None:
    def row(one: Event) -> dict[str, Any]:
        at, received = (START + timedelta(minutes=minutes) for minutes in (one.at, one.arrived))
        fields: dict[str, Any] = dict.fromkeys(("batch_id", "kafka_partition", "kafka_offset"), 0)
        fields |= {"event_id": one.event_id, "event_type": "purchase" if one.is_order else "view"}
        fields |= {"subject_id": one.subject, "event_at": at, "received_at": received, "event_date": at.date()}
        return fields | {"items": [("mug", 1, 2.0)], "consent": ["analytics"]}

    rows = rows_of(spark, STORED_EVENT, map(row, events))
    delta_tables.append_once(rows, settings, query="test", table="events", batch_id=0)


def store_sessions(spark: SparkSession, settings: Settings, recorded: Recorded) -> None:
    frame = closed_frame(recorded.sessions)[SESSION.names]
    sessions = rows_of(spark, SESSION, records(frame))
    delta_tables.append_once(sessions, settings, query="test", table="sessions", batch_id=0)
    names = ["event_id", "event_type", "subject_id", "session_id"]
    late = recorded.late.select([*names, "event_us", "received_us"]).to_pandas()
    times = {name: pd.to_datetime(late[f"{name[:-3]}_us"], unit="us") for name in ("event_at", "received_at")}
    late = late.assign(**times, watermark_at=START.replace(tzinfo=None), batch_id=0)
    rows = rows_of(spark, UNSESSIONED_EVENT, records(late))
    delta_tables.append_once(rows, settings, query="test", table="unsessioned_events", batch_id=0)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as Spark takes them: null instead of NaN, Python's own times."""

    def plain(value: Any) -> Any:
        known = None if pd.isna(value) else value
        return known.to_pydatetime() if isinstance(known, pd.Timestamp) else known

    return [{str(name): plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def stored_sessions(spark: SparkSession, settings: Settings) -> set[Session]:
    rows = delta_tables.read_table(spark, settings, "sessions").selectExpr(
        "subject_id", "unix_micros(started_at)", "unix_micros(ended_at)", "event_count", "order_value"
    )
    return {tuple(row) for row in rows.collect() if row.subject_id != CLOCK}


def admit(settings: Settings, *identifiers: RawId) -> str:
    """Let somebody be known by the first identifier, then also by the others."""
    store = open_subject_store(settings)
    known = {"analytics": True}
    found = store.admit([Claim(identifiers[0], known, store.now_ms(), also=identifiers[1:])])[0]
    assert found
    return found.subject_id


def test_repair_sessions_equals_the_plain_model_and_repeats_nothing(spark: SparkSession, tables: Settings) -> None:
    draw = random.Random(11)
    events = closing()
    for number in range(30):
        earlier = admit(tables, RawId("anonymous", f"browser-{number}")) if number % 3 == 0 else None
        person = admit(tables, RawId("user", f"user-{number}"), RawId("anonymous", f"browser-{number}"))
        events += history(draw, person, earlier)
    recorded = stream(events)
    store_events(spark, tables, events)
    store_sessions(spark, tables, recorded)

    first = repair_sessions(spark, tables, now=START)
    ids = {row.session_id for row in delta_tables.read_table(spark, tables, "sessions").select("session_id").collect()}
    again = repair_sessions(spark, tables, now=START)

    wanted = {one for one in plain_model(events) if one[0] != CLOCK}
    assert stored_sessions(spark, tables) == wanted
    assert first["repaired"] == len(recorded.late) > 20
    assert min(first.values()) > 0
    assert again == {"added": 0, "changed": 0, "removed": 0, "repaired": 0}
    late = delta_tables.read_table(spark, tables, "unsessioned_events").collect()
    assert {row.session_id for row in late} <= ids
    assert all(row.repaired_at is not None for row in late)


def test_repair_sessions_brings_back_nobody_who_withdrew_or_was_erased(spark: SparkSession, tables: Settings) -> None:
    store = open_subject_store(tables)
    names = {name: RawId("user", name) for name in ("stays", "withdrew", "erased")}
    people = {name: admit(tables, identifier) for name, identifier in names.items()}
    late = [
        Event(f"{name}-{at}", who, who, at, arrived, False) for name, who in people.items() for at, arrived in BRIDGED
    ]
    events = [*late, *closing()]
    recorded = stream(events)
    store_events(spark, tables, events)
    gone = recorded.sessions.filter(
        [who in (CLOCK, people["stays"]) for who in recorded.sessions["subject_id"].to_pylist()]
    )
    store_sessions(spark, tables, Recorded(gone, recorded.late))
    store.admit([Claim(names["withdrew"], {"analytics": False}, store.now_ms(), "api")])
    ErasureStore(store).begin(names["erased"])

    counts = repair_sessions(spark, tables, now=START)

    assert stored_sessions(spark, tables) == {(people["stays"], START_US, START_US + 50 * MINUTE, 3, 0.0)}
    assert counts == {"added": 0, "changed": 1, "removed": 1, "repaired": 1}
