"""Kafka to Delta with decoding, validation, consent, duplicates and ledger, against a plain copy.

The baseline reads the same messages by ``from_json`` with the same schema and appends them to a Delta table. Both are
batches over what lies in Kafka, each run with messages of its own: to read one again would be a duplicate.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from kafka import KafkaProducer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.benchmarks.interleaved import compare
from afterclick.connectors import delta_tables
from afterclick.connectors.recent_events import RecentEvents
from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.faults.load import LoadPlan, good_message, iso
from afterclick.local.demo import demo_session
from afterclick.local.kafka import create_topic
from afterclick.quality import flag_violations, read_suite
from afterclick.schemas import EVENT_MESSAGE
from afterclick.settings import Settings


def measure(settings: Settings, *, announce: Callable[[str], None], quick: bool = False) -> dict[str, Any]:
    """Return events a second of both."""
    size, runs = (2_000, 1) if quick else (100_000, 3)
    topics = [f"bench-ingest-{number}" for number in range(runs + 1)]  # `compare` runs once before
    begins_at, clock = datetime.now(UTC) - timedelta(hours=1), EventClock()
    recent = RecentEvents(settings.streams.known_ids)
    for number, topic in enumerate(topics):
        announce(f"{topic}: sending {size:,} messages")
        send(settings, topic, number * size, size, begins_at)
    with demo_session(settings) as spark:
        mine, theirs = iter(enumerate(topics)), iter(enumerate(topics))
        compared = compare(
            lambda: take(spark, settings, *next(mine), clock=clock, recent=recent),
            lambda: _copy(spark, settings, *next(theirs)),
            runs=runs,
        )
        stored = delta_tables.read_table(spark, settings, "events").count()
    return {
        "measured": round(size / compared["measured_s"]),
        "baseline": round(size / compared["baseline_s"]),
        **{name: compared[name] for name in ("ratio", "runs", "spread", "baseline_spread")},
        "events_each": size,
        "stored": stored,
    }


def send(settings: Settings, topic: str, first: int, size: int, begins_at: datetime) -> None:
    """Create a topic and fill it with acceptable messages, the `first` of all topics' onwards."""
    create_topic(settings.kafka.bootstrap_servers, topic, settings.kafka.events_partitions)
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, acks="all", linger_ms=20)
    for key, value in _messages(first, size, begins_at):
        producer.send(topic, value=value, key=key)
    producer.flush()
    producer.close()


def take(
    spark: SparkSession, settings: Settings, number: int, topic: str, *, clock: EventClock, recent: RecentEvents
) -> None:
    """Ingest a topic as batch `number`."""
    from jobs import ingest_events  # noqa: PLC0415 - jobs import connectors, we sit above

    delta_tables.ensure_tables(spark, settings, ingest_events.WRITTEN)
    checked = flag_violations(decode_events(_read(spark, settings, topic)), read_suite(settings.suite_path("events")))
    ingest_events.write_events(checked, number, settings=settings, clock=clock, recent=recent)


def _copy(spark: SparkSession, settings: Settings, number: int, topic: str) -> None:
    text = _read(spark, settings, topic).select(F.from_json(F.col("value").cast("string"), EVENT_MESSAGE).alias("m"))
    writer = text.select("m.*").write.format("delta").mode("append").option("txnAppId", "plain")
    writer.option("txnVersion", number).save(f"{settings.storage.tables}/plain")


def _read(spark: SparkSession, settings: Settings, topic: str) -> DataFrame:
    reader = spark.read.format("kafka").option("kafka.bootstrap.servers", settings.kafka.bootstrap_servers)
    return reader.option("subscribe", topic).option("startingOffsets", "earliest").load()


def _messages(first: int, size: int, begins_at: datetime) -> Iterator[tuple[bytes, bytes]]:
    plan = LoadPlan(size, 1, begins_at)
    for number in range(first, first + size):
        at = iso(begins_at + timedelta(milliseconds=number))
        message = good_message(number, plan) | {"subject_id": f"{number % 20_000:032x}", "event_at": at}
        yield message["subject_id"].encode(), msgspec.json.encode(message | {"received_at": at})
