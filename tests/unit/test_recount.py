"""The demo's recount: what it says of the tables is what was written to them."""

from typing import Any

from pyspark.sql import SparkSession

from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.local.recount import recount
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings
from builders import kafka_rows, make_message
from jobs.ingest_events import write_events


def test_recount_counts_each_fate_once_and_late_events_among_the_stored(spark: SparkSession, tables: Settings) -> None:
    messages: list[Any] = [
        make_message(event_id="a"),
        b"\xff",
        make_message(event_id="b", consent=[]),
        make_message(event_id="a"),
        make_message(event_id="c"),
        make_message(event_id="d", event_at="2026-11-24T11:49:58.999Z"),
    ]
    raw = kafka_rows(spark, messages)
    checked = flag_violations(decode_events(raw), read_suite(tables.suite_path("events")))
    write_events(checked, 0, settings=tables, clock=EventClock())
    topic = raw.select("topic").first()
    assert topic
    kafka = tables.kafka.model_copy(update={"events_topic": topic[0]})

    assert recount(spark, tables.model_copy(update={"kafka": kafka})) == {
        "events_in_delta": 3,
        "distinct_events_in_delta": 3,
        "events_late": 1,
        "events_in_quarantine": 1,
        "without_consent_in_stream": 1,
        "duplicates": 1,
        "consumed": 6,
        "sessions_closed": 0,
    }
