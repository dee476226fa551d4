"""librdkafka against a real broker: the same partitions as Kafka's own clients, no options but those it keeps."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.admin import NewTopic
from kafka.partitioner.default import murmur2

from afterclick.collector.event_sink import KafkaSink, OverloadedError
from afterclick.collector.kafka_producer import DurableProducer
from afterclick.collector.messages import Event
from afterclick.errors import SettingsError
from afterclick.setting_sections import CollectorSettings, KafkaSettings
from afterclick.settings import Settings

PARTITIONS = 7


class Reports:
    """Keeps delivery reports and tells when so many are in."""

    def __init__(self, expected: int) -> None:
        self.partitions: dict[Any, int | None] = {}
        self.errors: list[KafkaError] = []
        self._missing = expected
        self._all_in = threading.Event()

    def add(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.errors.append(error)
        self.partitions[message.key()] = message.partition()
        self._missing -= 1
        if not self._missing:
            self._all_in.set()

    def wait(self) -> None:
        assert self._all_in.wait(30)
        assert self.errors == []


def topic_of(live: Settings, partitions: int) -> str:
    topic = f"{live.kafka.events_topic}-{partitions}"
    admin = KafkaAdminClient(bootstrap_servers=live.kafka.bootstrap_servers)
    admin.create_topics([NewTopic(topic, partitions, 1)])
    admin.close()
    return topic


def sent_to(live: Settings, topic: str, keys: Sequence[bytes | None]) -> dict[Any, int | None]:
    reports = Reports(len(keys))
    producer = DurableProducer(live.kafka, live.collector)
    for key in keys:
        producer.produce(topic, b"{}", key, reports.add)
    reports.wait()
    assert producer.close(5) == 0
    return reports.partitions


def partition_by_kafka_python(key: bytes) -> int:
    return int(murmur2(key) & 0x7FFFFFFF) % PARTITIONS


def test_a_key_goes_where_kafka_python_puts_it(live: Settings) -> None:
    lengths = [b"x" * length for length in range(1, 10)]
    subjects = [f"{number:032x}".encode() for number in range(2_000)]
    others = ["näïve ☕".encode(), b"\x00\xff\x80", b"a" * 10_000]
    topic = topic_of(live, PARTITIONS)

    found = sent_to(live, topic, [*lengths, *subjects, *others])

    assert found == {key: partition_by_kafka_python(key) for key in found}
    assert set(found.values()) == set(range(PARTITIONS))


def test_a_message_without_key_goes_anywhere(live: Settings) -> None:
    assert sent_to(live, topic_of(live, PARTITIONS), [None])[None] in range(PARTITIONS)


def test_close_delivers_what_waits(live: Settings) -> None:
    patient = live.kafka.model_copy(update={"options": {"linger.ms": "60000"}})
    producer, reports = DurableProducer(patient, live.collector), Reports(1)
    producer.produce(live.kafka.events_topic, b"{}", b"ada", reports.add)
    time.sleep(0.3)
    assert not reports.partitions

    assert producer.close(10) == 0

    reports.wait()
    consumer = KafkaConsumer(
        live.kafka.events_topic,
        bootstrap_servers=live.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=5000,
    )
    assert next(consumer).key == b"ada"
    consumer.close()


def test_close_counts_what_no_broker_takes(settings: Settings) -> None:
    producer = DurableProducer(KafkaSettings(bootstrap_servers="127.0.0.1:1"), settings.collector)
    producer.produce("events", b"{}", b"ada", lambda *_: None)

    assert producer.close(0.2) == 1


def test_publish_is_refused_when_the_queue_is_full(live: Settings) -> None:
    """The sink lets no more in than fits; a wrong count must be an overload, not a loss."""
    sink = KafkaSink(live.kafka, live.collector.model_copy(update={"max_in_flight": 1}))
    sink._settings = live.collector  # noqa: SLF001

    with pytest.raises(OverloadedError, match="queue for Kafka is full"):
        asyncio.run(sink.publish([Event(b"ada", b"{}")] * 3_000))
    assert sink._waiting == 0  # noqa: SLF001
    sink.close()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("fetch.max.speed", "1", "No such configuration property"),
        ("linger.ms", "soon", "Invalid value"),
        ("max.in.flight", "6", "must be set <= 5"),
        ("sasl.jaas.config", "x", "JAAS"),
        ("acks", "1", "the collector sets it itself"),
        ("enable.idempotence", "false", "the collector sets it itself"),
        ("request.required.acks", "1", "the collector sets it itself"),
        ("metadata.broker.list", "elsewhere:9092", "the collector sets it itself"),
    ],
)
def test_an_option_is_refused_by_name(name: str, value: str, told: str) -> None:
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", options={"client.id": "shop", name: value})

    with pytest.raises(SettingsError, match=told) as refused:
        DurableProducer(kafka, CollectorSettings())

    assert f"kafka.options {name!r} = {value!r}" in str(refused.value)
    assert "take it away" in str(refused.value).lower()


def test_an_authority_that_is_not_there_is_refused() -> None:
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", security_protocol="SSL", ca_file=Path("no-such-file.pem"))

    with pytest.raises(SettingsError, match=r"section kafka.*ssl\.ca\.location"):
        DurableProducer(kafka, CollectorSettings())


def test_options_of_kafka_reach_the_broker(live: Settings) -> None:
    options = {"compression.type": "lz4", "linger.ms": "5", "request.timeout.ms": "3000"}
    told = live.model_copy(update={"kafka": live.kafka.model_copy(update={"options": options})})

    assert list(sent_to(told, live.kafka.events_topic, [b"ada"])) == [b"ada"]
