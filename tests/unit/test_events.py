"""Decoding: every message becomes a row, and what does not fit is marked."""

from datetime import UTC, datetime

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession

from afterclick.events import decode_events, select_events
from afterclick.schemas import DECODED_EVENT, EVENT
from builders import kafka_rows, make_message

POISON = {
    "tombstone": None,
    "raw_bytes": b"\xff\xfe\x00\x80",
    "empty": b"",
    "array": b"[1, 2]",
    "number": b"42",
    "truncated": b'{"event_id": "event-1", "items": [',
    "price_is_text": make_message(items=[{"item_id": "mug", "quantity": 1, "price": "cheap"}]),
    "items_is_text": make_message(items="mug"),
    "quantity_is_fraction": make_message(items=[{"item_id": "mug", "quantity": 1.5, "price": 1.0}]),
    "consent_is_object": make_message(consent={"analytics": True}),
}


def test_decode_events_has_the_schema_named_in_schemas(spark: SparkSession) -> None:
    decoded = decode_events(kafka_rows(spark, [make_message()]))

    assert [(f.name, f.dataType) for f in decoded.schema] == [(f.name, f.dataType) for f in DECODED_EVENT]


def test_decode_events_keeps_every_field_when_well_formed(spark: SparkSession) -> None:
    decoded = decode_events(kafka_rows(spark, [make_message(order_id="o-1", currency="EUR")]))

    row = decoded.collect()[0].asDict(recursive=True)
    assert row["is_well_formed"]
    assert row["event_at"] == datetime(2026, 11, 24, 11, 59, 59, tzinfo=UTC).replace(tzinfo=None)
    assert row["items"] == [{"item_id": "mug", "quantity": None, "price": None}]
    assert (row["order_id"], row["currency"], row["kafka_offset"]) == ("o-1", "EUR", 0)


@pytest.mark.parametrize("kind", POISON)
def test_decode_events_marks_not_well_formed_when(spark: SparkSession, kind: str) -> None:
    good_and_bad = kafka_rows(spark, [make_message(), POISON[kind]])

    rows = decode_events(good_and_bad).orderBy("kafka_offset").collect()

    assert [row.is_well_formed for row in rows] == [True, False]


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-13-01T00:00:00Z", "2026-11-24", "2026-11-24T12:00:00", "1764000000", ""]
)
def test_decode_events_leaves_event_at_null_when_not_iso_8601_with_offset(spark: SparkSession, text: str) -> None:
    row = decode_events(kafka_rows(spark, [make_message(event_at=text)])).collect()[0]

    assert row.event_at is None
    assert row.is_well_formed


def test_decode_events_converts_an_offset_to_utc(spark: SparkSession) -> None:
    row = decode_events(kafka_rows(spark, [make_message(event_at="2026-11-24T13:30:00.250+01:30")])).collect()[0]

    assert row.event_at == datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC).replace(tzinfo=None)


def test_select_events_ends_in_the_event_schema(spark: SparkSession) -> None:
    events = select_events(decode_events(kafka_rows(spark, [make_message()])))

    expected = spark.createDataFrame(events.collect(), EVENT)
    assert_df_equality(events, expected, ignore_nullable=True)
