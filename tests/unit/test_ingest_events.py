"""The writer of ingest: every message in one table, and a repeated batch changes nothing."""

import contextlib
from typing import Any

import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.connectors.ledger import FAULTS, check_ledger
from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings
from builders import kafka_rows, make_message
from jobs.ingest_events import write_events

MESSAGES: list[Any] = [
    make_message(event_id="a"),
    b"\xff",
    make_message(event_id="b", consent=[]),
    make_message(event_id="a"),
    make_message(event_id="c"),
    make_message(event_id="d", event_at="2026-11-24T11:49:58.999Z"),
]


def write(spark: SparkSession, settings: Settings, messages: list[Any], batch_id: int, first_offset: int = 0) -> None:
    suite = read_suite(settings.suite_path("events"))
    checked = flag_violations(decode_events(kafka_rows(spark, messages, first_offset=first_offset)), suite)
    write_events(checked, batch_id, settings=settings, clock=EventClock())


def stored(spark: SparkSession, settings: Settings) -> dict[str, list[Any]]:
    tables = {
        name: delta_tables.read_table(spark, settings, name)
        for name in ("events", "late_events", "quarantine", "ledger")
    }
    return {
        "events": sorted(row.event_id for row in tables["events"].collect()),
        "late_events": sorted(row.event_id for row in tables["late_events"].collect()),
        "quarantine": sorted(row.kafka_offset for row in tables["quarantine"].collect()),
        "ledger": sorted(
            (row.batch_id, row.consumed, row.events, row.late_events, row.quarantine, row.no_consent, row.duplicates)
            for row in tables["ledger"].collect()
        ),
    }


EXPECTED = {"events": ["a", "c"], "late_events": ["d"], "quarantine": [1], "ledger": [(0, 6, 2, 1, 1, 1, 1)]}


def test_write_events_puts_every_message_in_its_place(spark: SparkSession, tables: Settings) -> None:
    write(spark, tables, MESSAGES, 0)

    assert stored(spark, tables) == EXPECTED


def test_write_events_of_an_empty_batch_adds_only_a_row_of_zeros_to_the_ledger(
    spark: SparkSession, tables: Settings
) -> None:
    write(spark, tables, [], 0)
    write(spark, tables, MESSAGES, 1)

    expected = [(0, 0, 0, 0, 0, 0, 0), (1, 6, 2, 1, 1, 1, 1)]
    assert stored(spark, tables) == {**EXPECTED, "ledger": expected}
    assert not any(check_ledger(spark, tables)[name] for name in FAULTS)


@pytest.mark.parametrize("committed", [1, 2, 3, 4])
def test_write_events_ends_the_same_when_replayed_after_a_crash_between_sinks(
    spark: SparkSession, tables: Settings, monkeypatch: pytest.MonkeyPatch, committed: int
) -> None:
    append_once = delta_tables.append_once
    done: list[str] = []

    def crash_after(rows: Any, *args: Any, table: str, **kwargs: Any) -> None:
        if len(done) == committed:
            raise KeyboardInterrupt
        append_once(rows, *args, table=table, **kwargs)
        done.append(table)

    with monkeypatch.context() as patch:
        patch.setattr(delta_tables, "append_once", crash_after)
        with contextlib.suppress(KeyboardInterrupt):
            write(spark, tables, MESSAGES, 0)
    write(spark, tables, MESSAGES, 0)

    assert stored(spark, tables) == EXPECTED


def test_write_events_counts_a_redelivery_in_a_later_batch_as_duplicate(spark: SparkSession, tables: Settings) -> None:
    write(spark, tables, [make_message(event_id="a")], 0)

    write(spark, tables, [make_message(event_id="a"), make_message(event_id="b")], 1, first_offset=1)

    assert stored(spark, tables)["events"] == ["a", "b"]
    assert stored(spark, tables)["ledger"][1] == (1, 2, 1, 0, 0, 0, 1)


def test_write_events_writes_again_when_the_checkpoint_was_reset(spark: SparkSession, tables: Settings) -> None:
    """A new generation must not be taken for a repetition of batch 0; what it reads again is a duplicate."""
    write(spark, tables, [make_message(event_id="a"), b"bad"], 0)
    generation = f"{tables.storage.checkpoints}/ingest_events/generation"
    with open(generation, "w") as file:  # noqa: PTH123
        file.write("1")

    write(spark, tables, [make_message(event_id="a"), b"bad", make_message(event_id="b"), b"new"], 0)

    assert stored(spark, tables)["events"] == ["a", "b"]
    assert stored(spark, tables)["quarantine"] == [1, 3]
    figures = check_ledger(spark, tables)
    assert {name: figures[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)


def test_write_events_takes_the_watermark_from_the_ledger_after_a_restart(
    spark: SparkSession, tables: Settings
) -> None:
    write(spark, tables, [make_message(event_id="a")], 0)
    write(spark, tables, [make_message(event_id="b", event_at="2026-11-24T11:00:00Z")], 1, first_offset=1)

    assert stored(spark, tables)["late_events"] == ["b"]
    offsets = [
        [(part.from_offset, part.until_offset) for part in row.offsets]
        for row in delta_tables.read_table(spark, tables, "ledger").orderBy("batch_id").collect()
    ]
    assert offsets == [[(0, 1)], [(1, 2)]]
