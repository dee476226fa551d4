"""Poison of every kind among good events on a real topic: nothing stops, nothing is lost, and what can be repaired is."""

import json
from collections import Counter
from typing import Any, NamedTuple

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.connectors.ledger import FAULTS, check_ledger
from afterclick.quarantine import Selection
from afterclick.settings import Settings
from builders import NOW, make_message
from jobs import ingest_events
from jobs.replay_quarantine import replay, try_out
from nightly import NIGHTLY
from poison import FIX, POISONS, poisoned


class Sent(NamedTuple):
    """What was produced: ids of good events, and kind and id of each poisoned one by Kafka position."""

    good: set[str]
    poison: dict[tuple[int, int], tuple[str, str]]


def produce(settings: Settings, *, good: int, poison: int) -> Sent:
    """Spread `poison` messages of all kinds among `good` ones, all with the same broker time."""
    servers = settings.kafka.bootstrap_servers
    keep_producers_time(settings)
    producer = KafkaProducer(bootstrap_servers=servers, max_request_size=2**20, linger_ms=20, acks="all")
    kinds, every = list(POISONS), max(1, good // poison)
    sent_poison: list[tuple[str, str, Any]] = []
    names = [f"good-{number}" for number in range(good)]

    def send(number: int, value: bytes | None) -> Any:
        return producer.send(  # a key, since the producer refuses a tombstone without one
            settings.kafka.events_topic,
            value=value,
            key=b"%d" % number,
            partition=number % 2,
            timestamp_ms=int(NOW.timestamp() * 1000),
        )

    for number, name in enumerate(names):
        send(number, json.dumps(make_message(event_id=name)).encode())
        if number % every == 0 and len(sent_poison) < poison:
            kind, bad_id = kinds[len(sent_poison) % len(kinds)], f"bad-{len(sent_poison)}"
            sent_poison.append((kind, bad_id, send(number // every, poisoned(kind, bad_id))))
    producer.flush()
    positions = {(f.value.partition, f.value.offset): (kind, bad_id) for kind, bad_id, f in sent_poison}
    producer.close()
    return Sent(set(names), positions)


def keep_producers_time(settings: Settings) -> None:
    """Let the topic take `NOW` as its messages' time: what is in the future is told by it."""
    change = {"message.timestamp.type": "CreateTime"}
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, settings.kafka.events_topic, change)])
    admin.close()


def ingest_all(spark: SparkSession, settings: Settings) -> None:
    query = ingest_events.start(spark, settings)
    try:
        query.processAllAvailable()
        assert query.exception() is None
    finally:
        query.stop()


def table(spark: SparkSession, settings: Settings, name: str) -> Any:
    return delta_tables.read_table(spark, settings, name)


def wrong_reasons(spark: SparkSession, settings: Settings, sent: Sent) -> list[tuple[str, Any]]:
    """Return kinds that are missing in quarantine or have not their reason, and what is there without having been bad."""
    rows = table(spark, settings, "quarantine").select("kafka_partition", "kafka_offset", "reasons").collect()
    found = {(row.kafka_partition, row.kafka_offset): row.reasons for row in rows}
    wrong = [
        (kind, found.get(position))
        for position, (kind, _) in sent.poison.items()
        if POISONS[kind].reason not in (found.get(position) or [])
    ]
    return wrong + [("good", reasons) for position, reasons in found.items() if position not in sent.poison]


def stored_ids(spark: SparkSession, settings: Settings) -> Counter[str]:
    return Counter(row.event_id for row in table(spark, settings, "events").select("event_id").collect())


def faults(spark: SparkSession, settings: Settings) -> dict[str, int]:
    figures = check_ledger(spark, settings)
    return {name: figures[name] for name in (*FAULTS, "repeated") if figures[name]}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("good", "poison"), [(10_000, 500), pytest.param(100_000, 5_000, marks=NIGHTLY)])
def test_poison_among_good_events_is_set_aside_and_repaired_once(
    spark: SparkSession, live: Settings, good: int, poison: int
) -> None:
    assert len(POISONS) >= 40
    sent = produce(live, good=good, poison=poison)
    assert (len(sent.good), len(sent.poison)) == (good, poison)
    assert {kind for kind, _ in sent.poison.values()} == set(POISONS)
    repairable = {bad_id for kind, bad_id in sent.poison.values() if POISONS[kind].is_repairable}

    ingest_all(spark, live)

    assert wrong_reasons(spark, live, sent) == []
    assert stored_ids(spark, live) == Counter(sent.good)
    assert faults(spark, live) == {}

    would = try_out(spark, live, Selection(), FIX["fixes"])
    assert stored_ids(spark, live) == Counter(sent.good)
    counts = [replay(spark, live, Selection(), FIX["fixes"]) for _ in range(2)]

    assert would == counts[0]
    assert [(count["events"], count["quarantine"]) for count in counts] == [
        (len(repairable), len(sent.poison) - len(repairable)),
        (0, len(sent.poison) - len(repairable)),
    ]
    assert stored_ids(spark, live) == Counter(sent.good | repairable)
    assert faults(spark, live) == {}
