"""The ledger's check finds every kind of difference, and nothing where there is none."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.connectors.ledger import FAULTS, check_ledger
from afterclick.connectors.removals import RemovalReason, removing
from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings, load_settings
from builders import kafka_rows, make_message
from conftest import installation_variables
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


@pytest.fixture(scope="module")
def _three_batches(spark: SparkSession, _empty_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write `BATCHES` once: it takes longer than any test here looks at them."""
    settings = load_settings("local", variables=installation_variables(tmp_path_factory.mktemp("ledger")))
    shutil.copytree(_empty_tables, settings.storage.tables)
    ingest(spark, settings, BATCHES)
    return settings.state_dir


@pytest.fixture
def ingested(_three_batches: Path, settings: Settings) -> Settings:
    """Return settings of a lake of its own that holds them."""
    shutil.copytree(_three_batches, settings.state_dir, dirs_exist_ok=True)
    return settings


def faults(spark: SparkSession, settings: Settings) -> dict[str, int]:
    figures = check_ledger(spark, settings)
    return {name: figures[name] for name in FAULTS}


def test_check_ledger_finds_nothing_after_three_batches(spark: SparkSession, ingested: Settings) -> None:
    assert check_ledger(spark, ingested) == NOTHING | {
        "batches": 3, "consumed": 7, "events": 3, "late_events": 1, "quarantine": 1, "no_consent": 1,
        "duplicates": 1, "reused_ids": 0, "repeated": 0, "removed": 0, "in_flight": 0,
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
    spark: SparkSession, ingested: Settings, mischief: Callable[[SparkSession, Settings], None], found: dict[str, int]
) -> None:
    mischief(spark, ingested)

    assert faults(spark, ingested) == NOTHING | found


class KilledError(Exception):
    """Stands for a process that ends inside a removal."""


def remove(spark: SparkSession, settings: Settings, condition: str, *, killed: bool = False) -> None:
    with removing(spark, settings, "events", RemovalReason.ERASURE) as events:
        events.delete(condition)
        if killed:
            raise KilledError


def found_and_removed(spark: SparkSession, settings: Settings) -> tuple[dict[str, int], int]:
    figures = check_ledger(spark, settings)
    return {name: figures[name] for name in FAULTS if figures[name]}, figures["removed"]


def test_check_ledger_does_not_miss_rows_that_a_removal_took(spark: SparkSession, ingested: Settings) -> None:
    remove(spark, ingested, "event_id IN ('a', 'b')")
    remove(spark, ingested, "event_id = 'nobody'")

    assert found_and_removed(spark, ingested) == ({}, 2)


def test_check_ledger_misses_what_went_by_hand_beside_a_removal(spark: SparkSession, ingested: Settings) -> None:
    remove(spark, ingested, "event_id = 'a'")
    table(spark, ingested, "events").delete("event_id = 'c'")

    assert found_and_removed(spark, ingested) == ({"wrong_tables": 1}, 1)


def test_a_removal_killed_before_it_was_counted_is_counted_at_the_next_look(
    spark: SparkSession, ingested: Settings
) -> None:
    with pytest.raises(KilledError):
        remove(spark, ingested, "event_id = 'b'", killed=True)
    lose_an_event(spark, ingested)  # nothing left to lose
    again = delta_tables.read_table(spark, ingested, "events").where("event_id = 'a'")
    newer = again.selectExpr("* EXCEPT (batch_id)", "9L batch_id")
    delta_tables.append_once(newer, ingested, query="mischief", table="events", batch_id=0)

    figures = check_ledger(spark, ingested)

    assert (figures["wrong_tables"], figures["removed"], figures["in_flight"]) == (0, 1, 1)


def test_a_removal_killed_before_its_commit_took_nothing(spark: SparkSession, ingested: Settings) -> None:
    with pytest.raises(KilledError), removing(spark, ingested, "events", RemovalReason.RETENTION):
        raise KilledError

    for _ in range(2):
        assert found_and_removed(spark, ingested) == ({}, 0)
    remove(spark, ingested, "event_id = 'b'")
    assert found_and_removed(spark, ingested) == ({}, 1)


def test_a_removal_that_finds_nothing_needs_no_version_that_delta_has_forgotten(
    spark: SparkSession, ingested: Settings
) -> None:
    """Delta keeps its log for 30 days, then only what a checkpoint still needs."""
    log = Path(delta_tables.table_path(ingested, "events")) / "_delta_log"
    nothing = delta_tables.read_table(spark, ingested, "events").limit(0)
    while not (checkpoints := sorted(log.glob("*.checkpoint*.parquet"))):
        delta_tables.append_once(nothing, ingested, query=f"more {len([*log.iterdir()])}", table="events", batch_id=0)
    for old in log.glob("*.json"):
        if old.stem < checkpoints[0].name.split(".")[0]:
            old.unlink()

    with removing(spark, ingested, "events", RemovalReason.RETENTION) as events:
        events.delete("event_id = 'nobody'")

    assert found_and_removed(spark, ingested) == ({}, 0)
