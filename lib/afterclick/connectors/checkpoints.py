"""How far a query has come, read from its checkpoint folder without Spark."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from afterclick.kafka_security import client_options
from afterclick.setting_sections import KafkaSettings

Offsets = dict[int, int]


@dataclass(frozen=True)
class TopicState:
    """What a broker keeps of a topic; `retention_ms` below 0 is for ever."""

    retention_ms: int
    begin: Mapping[int, int]
    end: Mapping[int, int]


def committed_offsets(checkpoint: Path, topic: str) -> Offsets:
    """Return the end offset per partition of the newest committed batch; empty before the first.

    Parameters
    ----------
    checkpoint
        Folder of one query on a local disk.
    """
    newest = newest_batch(checkpoint)
    if newest is None:
        return {}
    source = (checkpoint / "offsets" / str(newest)).read_text(encoding="utf-8").splitlines()[-1]
    return {int(partition): offset for partition, offset in json.loads(source)[topic].items()}


def newest_batch(checkpoint: Path) -> int | None:
    """Return the number of a query's newest committed batch; None before the first."""
    committed = [int(file.name) for file in (checkpoint / "commits").glob("[0-9]*") if file.name.isdigit()]
    return max(committed, default=None)


def has_settled(checkpoint: Path) -> bool:
    """Return whether no batch follows the newest committed one until new messages come.

    A batch that moves the watermark is followed by one without messages, in which sessions close
    (Spark's ``nextBatchWatermarkMs`` of the commit against ``batchWatermarkMs`` of the batch).
    """
    newest = newest_batch(checkpoint)
    if newest is None:
        return False
    commit, batch = (
        json.loads((checkpoint / folder / str(newest)).read_text(encoding="utf-8").splitlines()[1])
        for folder in ("commits", "offsets")
    )
    return bool(commit.get("nextBatchWatermarkMs", 0) <= batch.get("batchWatermarkMs", 0))


def first_times(kafka: KafkaSettings, topic: str) -> dict[int, int | None]:
    """Return when the oldest message of each partition was written, in milliseconds; None where there is none."""
    consumer = KafkaConsumer(**client_options(kafka), consumer_timeout_ms=3_000)
    try:
        positions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()]
        begin, end = consumer.beginning_offsets(positions), consumer.end_offsets(positions)
        found: dict[int, int | None] = {}
        for position in positions:
            found[position.partition] = None
            if begin[position] < end[position]:
                consumer.assign([position])
                consumer.seek(position, begin[position])
                found[position.partition] = int(next(consumer).timestamp)
        return found
    finally:
        consumer.close()


def end_offsets(bootstrap_servers: str, topic: str) -> Offsets:
    """Return the next offset to be written per partition; empty when the topic does not exist."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers)
    try:
        partitions = consumer.partitions_for_topic(topic) or set()
        found = consumer.end_offsets([TopicPartition(topic, partition) for partition in partitions])
        return {position.partition: offset for position, offset in found.items()}
    finally:
        consumer.close()


def topic_state(kafka: KafkaSettings) -> TopicState:
    """Return retention and offsets of the events topic; raises `KafkaError` when no broker answers in three seconds."""
    topic = kafka.events_topic
    admin = KafkaAdminClient(**client_options(kafka), bootstrap_timeout_ms=3_000)
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = admin.describe_configs([resource], config_filter="all")
    finally:
        admin.close()
    consumer = KafkaConsumer(**client_options(kafka))
    try:
        positions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()]
        begin, end = consumer.beginning_offsets(positions), consumer.end_offsets(positions)
        retention = int(found["topic"][topic]["retention.ms"]["value"])
        return TopicState(retention, *({p.partition: offset for p, offset in of.items()} for of in (begin, end)))
    finally:
        consumer.close()
