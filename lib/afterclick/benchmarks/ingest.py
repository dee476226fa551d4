"""Kafka to Delta with decoding, validation, consent, duplicates and ledger, against a plain copy.

The baseline reads the same messages by ``from_json`` with the same schema and appends them to a Delta table. Both are
batches over what lies in Kafka, each run with messages of its own: to read one again would be a duplicate.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from kafka import KafkaProducer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.connectors import delta_tables
from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.faults.load import LoadPlan, good_message, iso
from afterclick.local.demo import demo_session
from afterclick.local.kafka import create_topic
from afterclick.quality import flag_violations, read_suite
from afterclick.schemas import EVENT_MESSAGE
from afterclick.settings import Settings

WARM_UP = 1
"""Batches of each that are not counted: Spark compiles."""


def measure(settings: Settings, *, announce: Callable[[str], None], quick: bool = False) -> dict[str, Any]:
    """Return events a second of both."""
    size, runs = (2_000, 1) if quick else (100_000, 3)
    topics = [f"bench-ingest-{number}" for number in range(WARM_UP + runs)]
    begins_at = datetime.now(UTC) - timedelta(hours=1)
    for number, topic in enumerate(topics):
        announce(f"{topic}: sending {size:,} messages")
        create_topic(settings.kafka.bootstrap_servers, topic, settings.kafka.events_partitions)
        _fill(settings, topic, _messages(number * size, size, begins_at))
    with demo_session(settings) as spark:
        ours = partial(_ingest, spark, settings, clock=EventClock())
        times = list(_in_turns(ours, partial(_copy, spark, settings), topics, announce))[WARM_UP:]
        stored = delta_tables.read_table(spark, settings, "events").count()
    mine, plain = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "measured": round(size / mine),
        "baseline": round(size / plain),
        "ratio": round(statistics.median(theirs / own for own, theirs in times), 3),
        "runs": runs,
        "events_each": size,
        "stored": stored,
    }


def _in_turns(
    ours: Callable[[str, int], None],
    plain: Callable[[str, int], None],
    topics: list[str],
    announce: Callable[[str], None],
) -> Iterator[tuple[float, float]]:
    for number, topic in enumerate(topics):
        begun = time.perf_counter()
        ours(topic, number)
        between = time.perf_counter()
        plain(topic, number)
        ended = time.perf_counter()
        announce(f"{topic}: {between - begun:.1f} s, plain {ended - between:.1f} s")
        yield between - begun, ended - between


def _ingest(spark: SparkSession, settings: Settings, topic: str, number: int, *, clock: EventClock) -> None:
    from jobs import ingest_events  # noqa: PLC0415 - jobs import connectors, we sit above

    delta_tables.ensure_tables(spark, settings, ingest_events.WRITTEN)
    checked = flag_violations(decode_events(_read(spark, settings, topic)), read_suite(settings.suite_path("events")))
    ingest_events.write_events(checked, number, settings=settings, clock=clock)


def _copy(spark: SparkSession, settings: Settings, topic: str, number: int) -> None:
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


def _fill(settings: Settings, topic: str, messages: Iterator[tuple[bytes, bytes]]) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, acks="all", linger_ms=20)
    for key, value in messages:
        producer.send(topic, value=value, key=key)
    producer.flush()
    producer.close()
