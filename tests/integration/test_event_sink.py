"""Kafka for real: published means durable, in a person's order; no broker is said."""

import asyncio
from datetime import UTC, datetime

import pytest
from kafka import KafkaConsumer

from afterclick.collector.event_sink import KafkaSink, OverloadedError
from afterclick.collector.messages import Arrival, Event, refusal
from afterclick.errors import StoreUnavailableError
from afterclick.setting_sections import KafkaSettings
from afterclick.settings import Settings


def read_all(live: Settings, count: int) -> list[tuple[bytes | None, bytes]]:
    consumer = KafkaConsumer(
        live.kafka.events_topic,
        bootstrap_servers=live.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=5000,
    )
    found = []
    for record in consumer:
        found.append((record.key, record.value))
        if len(found) == count:
            break
    consumer.close()
    return found


def test_publish_returns_when_events_are_on_kafka_in_order(live: Settings) -> None:
    sink = KafkaSink(live.kafka, live.collector)
    events = [Event(b"ada", str(n).encode()) for n in range(50)]
    stub = refusal(b"{", "not_json", Arrival(datetime(2026, 1, 1, tzinfo=UTC)))

    asyncio.run(sink.publish([*events, stub]))

    found = read_all(live, 51)
    assert [value for key, value in found if key == b"ada"] == [event.value for event in events]
    assert [value for key, value in found if key is None] == [stub.value]
    assert sink.is_ready()
    sink.close()


def test_publish_is_refused_when_too_many_wait(live: Settings) -> None:
    rules = live.collector.model_copy(update={"max_in_flight": 2})
    sink = KafkaSink(live.kafka, rules)

    with pytest.raises(OverloadedError, match="at most 2"):
        asyncio.run(sink.publish([Event(b"a", b"1")] * 3))
    sink.close()


def test_publish_says_unavailable_when_the_topic_does_not_exist(live: Settings) -> None:
    rules = live.collector.model_copy(update={"delivery_timeout_seconds": 1.0})
    sink = KafkaSink(live.kafka.model_copy(update={"events_topic": "no-such-topic"}), rules)

    with pytest.raises(StoreUnavailableError, match="did not confirm"):
        asyncio.run(sink.publish([Event(b"a", b"1")]))
    sink.close()


def test_sink_says_unavailable_when_no_broker_answers(settings: Settings) -> None:
    with pytest.raises(StoreUnavailableError, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        KafkaSink(KafkaSettings(bootstrap_servers="127.0.0.1:1"), settings.collector)
