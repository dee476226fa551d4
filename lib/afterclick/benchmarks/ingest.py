"""Kafka to Delta with decoding, validation, consent, duplicates and ledger, against a plain copy.

The baseline reads the same messages by ``from_json`` with the same schema and appends them to a Delta table, with Spark's own
settings of the Kafka source. Both are batches over what lies in Kafka, as large as a batch of the job may be, each run with
messages of its own: to read one again would be a duplicate. Plans are made before, as a stream makes them once.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from confluent_kafka import Producer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.benchmarks.interleaved import compare
from afterclick.connectors import delta_tables
from afterclick.connectors.kafka_source import FEW_POLLS
from afterclick.connectors.recent_events import RecentEvents
from afterclick.errors import LocalStackError
from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.faults.load import LoadPlan, good_message, iso
from afterclick.kafka_security import librdkafka_options
from afterclick.local.demo import demo_session
from afterclick.local.kafka import create_topic
from afterclick.quality import flag_violations, read_suite
from afterclick.schemas import EVENT_MESSAGE
from afterclick.settings import Settings

_WARM_UPS = 3
"""The second batch reads the ids of the window, once in the life of a writer."""
_SENDING_SECONDS = 120
_UNBOUNDED = {
    "acks": "all",
    "linger.ms": 20,
    "queue.buffering.max.messages": 0,
    "queue.buffering.max.kbytes": 2**31 - 1,
}


def measure(settings: Settings, *, announce: Callable[[str], None], quick: bool = False) -> dict[str, Any]:
    """Return events a second of both."""
    size, runs, warm_ups = (2_000, 1, 1) if quick else (settings.kafka.bulk_max_offsets_per_trigger, 5, _WARM_UPS)
    topics = [f"bench-ingest-{number}" for number in range(warm_ups + runs)]
    begins_at = datetime.now(UTC) - timedelta(hours=1)
    for number, topic in enumerate(topics):
        announce(f"{topic}: sending {size:,} messages")
        send(settings, topic, number * size, size, begins_at)
    with demo_session(settings) as spark:
        delta_tables.ensure_tables(spark, settings)
        write = batch_writer(settings)
        mine = iter([(judged(spark, settings, topic), number) for number, topic in enumerate(topics)])
        theirs = iter([(_decoded(spark, settings, topic), number) for number, topic in enumerate(topics)])
        announce(f"{runs} runs of each")
        compared = compare(
            lambda: write(*next(mine)), lambda: _append(settings, *next(theirs)), runs=runs, warm_ups=warm_ups
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
    producer = Producer(librdkafka_options(settings.kafka) | _UNBOUNDED)
    for key, value in _messages(first, size, begins_at):
        producer.produce(topic, value, key)
    if left := producer.flush(_SENDING_SECONDS):
        message = f"{left} of {size} messages did not reach topic {topic}; look at Kafka's log"
        raise LocalStackError(message)


def batch_writer(settings: Settings) -> Callable[[DataFrame, int], None]:
    """Return what the job does with a batch of checked messages and its number."""
    from jobs import ingest_events  # noqa: PLC0415 - jobs import connectors, we sit above

    recent = RecentEvents(settings.streams.known_ids)
    return partial(ingest_events.write_events, settings=settings, clock=EventClock(), recent=recent)


def judged(spark: SparkSession, settings: Settings, topic: str) -> DataFrame:
    """Return the checked messages of a topic, as the job reads them."""
    raw = _read(spark, settings, topic, **FEW_POLLS)
    return flag_violations(decode_events(raw), read_suite(settings.suite_path("events")))


def _decoded(spark: SparkSession, settings: Settings, topic: str) -> DataFrame:
    text = F.col("value").cast("string")
    return _read(spark, settings, topic).select(F.from_json(text, EVENT_MESSAGE).alias("m")).select("m.*")


def _append(settings: Settings, rows: DataFrame, number: int) -> None:
    writer = rows.write.format("delta").mode("append").option("txnAppId", "plain").option("txnVersion", number)
    writer.save(f"{settings.storage.tables}/plain")


def _read(spark: SparkSession, settings: Settings, topic: str, **options: str) -> DataFrame:
    reader = spark.read.format("kafka").option("kafka.bootstrap.servers", settings.kafka.bootstrap_servers)
    return reader.options(**options).option("subscribe", topic).option("startingOffsets", "earliest").load()


def _messages(first: int, size: int, begins_at: datetime) -> Iterator[tuple[bytes, bytes]]:
    plan = LoadPlan(size, 1, begins_at)
    for number in range(first, first + size):
        at = iso(begins_at + timedelta(milliseconds=number))
        message = good_message(number, plan) | {"subject_id": f"{number % 20_000:032x}", "event_at": at}
        yield message["subject_id"].encode(), msgspec.json.encode(message | {"received_at": at})
