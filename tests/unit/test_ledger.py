"""The ledger's check finds every kind of difference, and nothing where there is none."""

from collections.abc import Callable
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.connectors.ledger import FAULTS, check_ledger
from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings
from builders import kafka_rows, make_message
from jobs.ingest_events import write_events

BATCHES: list[list[Any]] = [
    [make_message(event_id="a"), make_message(event_id="a"), b"\xff", make_message(consent=[])],
    [make_message(event_id="b"), make_message(event_id="late", event_at="2026-11-24T10:00:00Z")],
    [make_message(event_id="c")],
]
NOTHING = dict.fromkeys(FAULTS, 0)


def ingest(spark: SparkSession, settings: Settings, batches: list[list[Any]]) -> None:
    suite, clock, offset = read_suite(settings.suite_path("events")), EventClock(), 0
    for batch_id, messages in enumerate(batches):
        rows = kafka_rows(spark, messages, first_offset=offset)
        write_events(flag_violations(decode_events(rows), suite), batch_id, settings=settings, clock=clock)
        offset += len(messages)


def faults(spark: SparkSession, settings: Settings) -> dict[str, int]:
    figures = check_ledger(spark, settings)
    return {name: figures[name] for name in FAULTS}


def test_check_ledger_finds_nothing_after_three_batches(spark: SparkSession, tables: Settings) -> None:
    ingest(spark, tables, BATCHES)

    assert check_ledger(spark, tables) == NOTHING | {
        "batches": 3, "consumed": 7, "events": 3, "late_events": 1, "quarantine": 1, "no_consent": 1,
        "duplicates": 1, "reused_ids": 0, "repeated": 0, "in_flight": 0,
    }  # fmt: skip


def table(spark: SparkSession, settings: Settings, name: str) -> DeltaTable:
    return DeltaTable.forPath(spark, delta_tables.table_path(settings, name))


def lose_an_event(spark: SparkSession, settings: Settings) -> None:
    table(spark, settings, "events").delete("event_id = 'b'")


def double_an_event(spark: SparkSession, settings: Settings) -> None:
    rows = delta_tables.read_table(spark, settings, "events").where("event_id = 'b'")
    delta_tables.append_once(rows, settings, query="mischief", table="events", batch_id=0)


def miscount(spark: SparkSession, settings: Settings) -> None:
    table(spark, settings, "ledger").update("batch_id = 0", {"no_consent": "no_consent + 1"})


def skip_a_batch(spark: SparkSession, settings: Settings) -> None:
    table(spark, settings, "ledger").delete("batch_id = 1")


def count_without_a_message(spark: SparkSession, settings: Settings) -> None:
    table(spark, settings, "ledger").update("batch_id = 2", {"consumed": "0L", "events": "0L"})
    table(spark, settings, "events").delete("event_id = 'c'")


@pytest.mark.parametrize(
    ("mischief", "found"),
    [
        (lose_an_event, {"wrong_tables": 1}),
        (double_an_event, {"wrong_tables": 1, "in_two_tables": 1}),
        (miscount, {"imbalance": 1}),
        (skip_a_batch, {"offset_gaps": 2, "wrong_tables": 2}),
        (count_without_a_message, {"unaccounted_offsets": 1}),
    ],
)
def test_check_ledger_finds(
    spark: SparkSession, tables: Settings, mischief: Callable[[SparkSession, Settings], None], found: dict[str, int]
) -> None:
    ingest(spark, tables, BATCHES)

    mischief(spark, tables)

    assert faults(spark, tables) == NOTHING | found
