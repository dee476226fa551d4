"""What is late follows from the order in Kafka alone."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import SparkSession

from afterclick.arrived import collect_arrived, summarise
from afterclick.decided_fates import flag_fates
from afterclick.event_clock import EventClock, OffsetRange, Past, Position, advance_clocks
from afterclick.event_fates import Batch, with_first_fate, with_payload_hash
from afterclick.events import decode_events
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings
from builders import NOW, kafka_rows, make_message

START = datetime(2026, 11, 24, 10, tzinfo=UTC)


def at(minute: float) -> str:
    return (START + timedelta(minutes=minute)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def late_offsets(spark: SparkSession, settings: Settings, messages: list[Any], *cuts: int) -> list[int]:
    """Return the offsets of late messages when the topic is cut into batches at `cuts`."""
    suite, clock, late = read_suite(settings.suite_path("events")), EventClock(), []
    bounds = [0, *cuts, len(messages)]
    for batch_id, (first, end) in enumerate(itertools.pairwise(bounds)):
        rows = kafka_rows(spark, messages[first:end], first_offset=first)
        checked = flag_violations(decode_events(rows), suite)
        past = clock.before(batch_id, lambda: Past({}, {}))
        judged = with_first_fate(with_payload_hash(checked))
        arrived, batch = collect_arrived(judged), Batch("ingest_events", "1", batch_id)
        fates = flag_fates(judged, arrived, clocks=past.clocks, watermark_minutes=10, known=None, batch=batch)
        late += [row.kafka_offset for row in fates.rows.where("event_at < watermark_at").collect()]
        clock.advance(batch_id, past, summarise(arrived).ranges)
    return sorted(late)


def test_an_event_exactly_at_the_watermark_is_in_time_and_one_ms_before_is_late(
    spark: SparkSession, settings: Settings
) -> None:
    messages = [
        make_message(event_at=at(30)),
        make_message(event_at=at(20)),
        make_message(event_at=at(20 - 1 / 60_000)),
    ]

    assert late_offsets(spark, settings, messages) == [2]


def test_an_event_in_the_future_never_moves_the_watermark(spark: SparkSession, settings: Settings) -> None:
    future = (NOW + timedelta(seconds=301)).isoformat().replace("+00:00", "Z")
    far = "2099-01-01T00:00:00Z"
    messages = [make_message(event_at=moment) for moment in (at(0), future, far, at(1))]

    assert late_offsets(spark, settings, messages) == []
    assert late_offsets(spark, settings, messages, 3) == []


def test_any_split_into_batches_calls_the_same_events_late(spark: SparkSession, settings: Settings) -> None:
    draw = random.Random(5)
    messages: list[Any] = [make_message(event_at=at(draw.uniform(0, 60))) for _ in range(60)]
    messages[10] = b"\xff"
    newest, expected = -1.0, []
    for offset, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        minute = (datetime.fromisoformat(message["event_at"]) - START).total_seconds() / 60
        if minute < newest - 10:
            expected.append(offset)
        newest = max(newest, minute)

    assert late_offsets(spark, settings, messages) == expected
    assert late_offsets(spark, settings, messages, 1, 17, 18, 44) == expected


def test_advance_clocks_keeps_the_newest_and_other_partitions() -> None:
    clocks = {Position("t", 0): START, Position("t", 1): START}
    earlier, later = START - timedelta(1), START + timedelta(1)

    moved = advance_clocks(
        clocks, [OffsetRange("t", 0, 0, 1, earlier), OffsetRange("t", 2, 0, 1, later), OffsetRange("t", 1, 0, 1, None)]
    )

    assert moved == {Position("t", 0): START, Position("t", 1): START, Position("t", 2): later}
