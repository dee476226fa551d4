"""Every message gets exactly one fate; a repeated id is a duplicate, a replayed batch is not."""

from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.arrived import collect_arrived
from afterclick.decided_fates import Fates, flag_fates
from afterclick.event_fates import (
    FATES,
    Batch,
    select_accepted,
    select_quarantined,
    with_first_fate,
    with_payload_hash,
)
from afterclick.events import decode_events
from afterclick.quality import flag_violations, read_suite
from afterclick.schemas import STORED_EVENT
from afterclick.settings import Settings
from builders import kafka_rows, make_message

FIRST, SECOND = Batch("ingest_events", "1", 0), Batch("ingest_events", "1", 1)
MUG, PEN = ([{"item_id": name, "quantity": None, "price": None}] for name in ("mug", "pen"))


def fates_of(
    spark: SparkSession,
    settings: Settings,
    *messages: Any,
    known: DataFrame | None = None,
    batch: Batch = FIRST,
    first_offset: int = 0,
) -> DataFrame:
    return decide(spark, settings, *messages, known=known, batch=batch, first_offset=first_offset).rows


def decide(
    spark: SparkSession,
    settings: Settings,
    *messages: Any,
    known: DataFrame | None = None,
    batch: Batch = FIRST,
    first_offset: int = 0,
) -> Fates:
    suite = read_suite(settings.suite_path("events"))
    checked = flag_violations(decode_events(kafka_rows(spark, messages, first_offset=first_offset)), suite)
    judged = with_first_fate(with_payload_hash(checked))
    arrived = collect_arrived(judged)
    return flag_fates(judged, arrived, clocks={}, watermark_minutes=10, known=known, batch=batch)


def count_fates(fates: DataFrame) -> dict[str, int]:
    """Count again what is in the rows."""
    counts = {fate: fates.where(F.col("fate") == fate).count() for fate in FATES}
    reused = fates.where("is_id_reused AND fate IN ('events', 'late_events')").count()
    return {"consumed": fates.count(), **counts, "reused_ids": reused}


def stored(fates: DataFrame, batch: Batch = FIRST) -> DataFrame:
    late = select_accepted(fates, "late_events", batch).select(*STORED_EVENT.names)
    return select_accepted(fates, "events", batch).unionByName(late)


def in_order(fates: DataFrame) -> list[str]:
    return [row.fate for row in fates.orderBy("kafka_offset").select("fate").collect()]


def marks(fates: DataFrame) -> list[tuple[str, bool]]:
    return [(row.fate, row.is_id_reused) for row in fates.orderBy("kafka_offset").collect()]


def test_flag_fates_gives_each_message_one_fate(spark: SparkSession, settings: Settings) -> None:
    fates, counts, _ = decide(
        spark,
        settings,
        make_message(event_id="a"),
        b"\xff",
        make_message(event_id="b", consent=["personalisation"]),
        make_message(event_id="c", consent=None),
        make_message(event_id="a"),
        None,
        make_message(event_id="d", items=[]),
        make_message(event_id="e", event_at="2026-11-24T10:00:00Z"),
    )

    assert in_order(fates) == [
        "events", "quarantine", "no_consent", "no_consent", "duplicates", "quarantine", "quarantine", "late_events",
    ]  # fmt: skip
    assert counts == count_fates(fates)
    assert counts["consumed"] == sum(counts[fate] for fate in FATES) == 8


def test_flag_fates_keeps_and_marks_another_payload_under_the_same_id(spark: SparkSession, settings: Settings) -> None:
    """Redelivered with another client clock it is the same payload; with another product it is not."""
    fates, counts, _ = decide(
        spark,
        settings,
        make_message(event_id="a", items=MUG),
        make_message(event_id="a", items=MUG, event_at="2026-11-24T11:59:58Z", received_at="2026-11-24T12:00:09Z"),
        make_message(event_id="a", items=PEN),
        make_message(event_id="a", items=PEN),
    )

    assert marks(fates) == [("events", False), ("duplicates", False), ("events", True), ("duplicates", True)]
    assert counts == count_fates(fates)
    assert counts["reused_ids"] == 1


def test_flag_fates_finds_duplicates_and_reused_ids_of_an_earlier_batch(
    spark: SparkSession, settings: Settings
) -> None:
    late = {"event_id": "late", "event_at": "2026-11-24T10:00:00Z"}
    known = stored(fates_of(spark, settings, make_message(event_id="a", items=MUG), make_message(**late)))
    messages = [
        make_message(event_id="a", items=MUG),
        make_message(event_id="a", items=PEN),
        make_message(event_id="b"),
        make_message(**late),
    ]

    again = fates_of(spark, settings, *messages, known=known, batch=SECOND, first_offset=2)

    assert marks(again) == [("duplicates", True), ("events", True), ("events", False), ("duplicates", True)]


def test_flag_fates_is_the_same_when_the_batch_is_replayed_after_its_commit(
    spark: SparkSession, settings: Settings
) -> None:
    messages = [
        make_message(event_id="a"),
        make_message(event_id="a"),
        make_message(event_id="b", items=MUG),
        make_message(event_id="b", items=PEN),
    ]
    first = fates_of(spark, settings, *messages)

    replayed = fates_of(spark, settings, *messages, known=stored(first))

    assert marks(replayed) == marks(first)


def test_flag_fates_calls_the_same_messages_duplicates_when_the_checkpoint_was_reset(
    spark: SparkSession, settings: Settings
) -> None:
    """The same Kafka positions under a new generation are in the table already."""
    known = stored(fates_of(spark, settings, make_message(event_id="a")))

    again = fates_of(spark, settings, make_message(event_id="a"), known=known, batch=Batch("ingest_events", "2", 0))

    assert in_order(again) == ["duplicates"]


@pytest.mark.parametrize(
    ("message", "reasons", "expectation"),
    [
        (None, ["empty_value"], "is_well_formed"),
        (b"\xff", ["malformed"], "is_well_formed"),
        ({"event_id": "e", "rejected_reason": "no_subject"}, ["collector:no_subject"], "rejected_reason"),
        (make_message(items=[], subject_id="Ada"), ["subject_not_pseudonym", "item_missing"], "^[0-9a-f]{32}$"),
    ],
    ids=["tombstone", "raw_bytes", "stub_of_the_collector", "two_rules"],
)
def test_select_quarantined_keeps_reasons_expectations_and_raw_bytes(
    spark: SparkSession, settings: Settings, message: Any, reasons: list[str], expectation: str
) -> None:
    suite = read_suite(settings.suite_path("events"))

    aside = select_quarantined(fates_of(spark, settings, message), suite, SECOND).collect()

    assert [row.reasons for row in aside] == [reasons]
    assert any(expectation in text for text in aside[0].failed_expectations)
    assert (aside[0].raw_value is None) == (message is None)
    assert (aside[0].kafka_offset, aside[0].batch_id) == (0, 1)
