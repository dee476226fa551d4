"""Every message gets exactly one fate; a repeated id is a duplicate, a replayed batch is not."""

from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from afterclick.event_fates import FATES, count_fates, flag_fates, select_fate, select_quarantined
from afterclick.events import decode_events, select_events
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings
from builders import kafka_rows, make_message


@pytest.fixture
def nothing_known(spark: SparkSession) -> DataFrame:
    return select_events(decode_events(kafka_rows(spark, [])))


def fates_of(
    spark: SparkSession, settings: Settings, known: DataFrame, *messages: Any, first_offset: int = 0
) -> DataFrame:
    suite = read_suite(settings.suite_path("events"))
    checked = flag_violations(decode_events(kafka_rows(spark, messages, first_offset=first_offset)), suite)
    return flag_fates(checked, known=known, settings=settings)


def in_order(fates: DataFrame) -> list[str]:
    return [row.fate for row in fates.orderBy("kafka_offset").select("fate").collect()]


def test_flag_fates_gives_each_message_one_fate(
    spark: SparkSession, settings: Settings, nothing_known: DataFrame
) -> None:
    fates = fates_of(
        spark,
        settings,
        nothing_known,
        make_message(event_id="a"),
        b"\xff",
        make_message(event_id="b", consent=["personalisation"]),
        make_message(event_id="c", consent=None),
        make_message(event_id="a"),
        None,
        make_message(event_id="d", items=[]),
    )

    assert in_order(fates) == [
        "events", "quarantine", "no_consent", "no_consent", "duplicates", "quarantine", "quarantine",
    ]  # fmt: skip
    counts = count_fates(fates)
    assert counts["consumed"] == sum(counts[fate] for fate in FATES) == 7


def test_flag_fates_finds_a_duplicate_of_an_earlier_batch(
    spark: SparkSession, settings: Settings, nothing_known: DataFrame
) -> None:
    first = fates_of(spark, settings, nothing_known, make_message(event_id="a"))
    known = select_events(select_fate(first, "events"))

    again = fates_of(spark, settings, known, make_message(event_id="a"), make_message(event_id="b"), first_offset=1)

    assert in_order(again) == ["duplicates", "events"]


def test_flag_fates_is_the_same_when_the_batch_is_replayed_after_its_commit(
    spark: SparkSession, settings: Settings, nothing_known: DataFrame
) -> None:
    messages = [make_message(event_id="a"), make_message(event_id="a"), make_message(event_id="b")]
    first = fates_of(spark, settings, nothing_known, *messages)

    replayed = fates_of(spark, settings, select_events(select_fate(first, "events")), *messages)

    assert in_order(replayed) == in_order(first) == ["events", "duplicates", "events"]


@pytest.mark.parametrize(
    ("message", "reasons"),
    [
        (None, ["empty_value"]),
        (b"\xff", ["malformed"]),
        ({"event_id": "e", "rejected_reason": "no_subject"}, ["collector:no_subject"]),
        (make_message(items=[], subject_id="Ada"), ["subject_not_pseudonym", "item_missing"]),
    ],
    ids=["tombstone", "raw_bytes", "stub_of_the_collector", "two_rules"],
)
def test_select_quarantined_keeps_reasons_and_raw_bytes(
    spark: SparkSession, settings: Settings, nothing_known: DataFrame, message: Any, reasons: list[str]
) -> None:
    aside = select_quarantined(fates_of(spark, settings, nothing_known, message), "ingest_events", 3).collect()

    assert [row.reasons for row in aside] == [reasons]
    assert (aside[0].raw_value is None) == (message is None)
    assert (aside[0].kafka_offset, aside[0].batch_id) == (0, 3)
