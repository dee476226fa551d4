"""The writer of ingest: every message in one table, and a repeated batch changes nothing."""

import contextlib
from typing import Any

import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
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
]


def write(spark: SparkSession, settings: Settings, messages: list[Any], batch_id: int, first_offset: int = 0) -> None:
    suite = read_suite(settings.suite_path("events"))
    checked = flag_violations(decode_events(kafka_rows(spark, messages, first_offset=first_offset)), suite)
    write_events(checked, batch_id, settings=settings)


def stored(spark: SparkSession, settings: Settings) -> dict[str, list[Any]]:
    tables = {name: delta_tables.read_table(spark, settings, name) for name in ("events", "quarantine", "ledger")}
    return {
        "events": sorted(row.event_id for row in tables["events"].collect()),
        "quarantine": sorted(row.kafka_offset for row in tables["quarantine"].collect()),
        "ledger": sorted(
            (row.batch_id, row.consumed, row.events, row.quarantine, row.no_consent, row.duplicates)
            for row in tables["ledger"].collect()
        ),
    }


EXPECTED = {"events": ["a", "c"], "quarantine": [1], "ledger": [(0, 5, 2, 1, 1, 1)]}


def test_write_events_puts_every_message_in_its_place(spark: SparkSession, settings: Settings) -> None:
    delta_tables.ensure_tables(spark, settings)

    write(spark, settings, MESSAGES, 0)

    assert stored(spark, settings) == EXPECTED


@pytest.mark.parametrize("committed", [("quarantine",), ("quarantine", "events"), ("quarantine", "events", "ledger")])
def test_write_events_ends_the_same_when_replayed_after_a_crash_between_sinks(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch, committed: tuple[str, ...]
) -> None:
    delta_tables.ensure_tables(spark, settings)
    append_once = delta_tables.append_once
    done: list[str] = []

    def crash_after(rows: Any, *args: Any, table: str, **kwargs: Any) -> None:
        if len(done) == len(committed):
            raise KeyboardInterrupt
        append_once(rows, *args, table=table, **kwargs)
        done.append(table)

    with monkeypatch.context() as patch:
        patch.setattr(delta_tables, "append_once", crash_after)
        with contextlib.suppress(KeyboardInterrupt):
            write(spark, settings, MESSAGES, 0)
    write(spark, settings, MESSAGES, 0)

    assert stored(spark, settings) == EXPECTED


def test_write_events_counts_a_redelivery_in_a_later_batch_as_duplicate(
    spark: SparkSession, settings: Settings
) -> None:
    delta_tables.ensure_tables(spark, settings)
    write(spark, settings, [make_message(event_id="a")], 0)

    write(spark, settings, [make_message(event_id="a"), make_message(event_id="b")], 1, first_offset=1)

    assert stored(spark, settings)["events"] == ["a", "b"]
    assert stored(spark, settings)["ledger"][1] == (1, 2, 1, 0, 0, 1)


def test_write_events_writes_again_when_the_checkpoint_was_reset(spark: SparkSession, settings: Settings) -> None:
    """A new generation must not be taken for a repetition of batch 0; its redeliveries are duplicates."""
    delta_tables.ensure_tables(spark, settings)
    write(spark, settings, [make_message(event_id="a")], 0)
    generation = delta_tables._filesystem(f"{settings.storage.checkpoints}/ingest_events/generation")[1]  # noqa: SLF001
    with open(generation, "w") as file:  # noqa: PTH123
        file.write("1")

    write(spark, settings, [make_message(event_id="b")], 0, first_offset=1)

    assert stored(spark, settings)["events"] == ["a", "b"]
