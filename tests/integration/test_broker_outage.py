"""Kafka dead, hanging or full: the collector never says 200 without a report. Topics changed: a query fails or follows."""

import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi.testclient import TestClient
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewPartitions
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from afterclick.collector.app import create_app
from afterclick.collector.event_sink import KafkaSink
from afterclick.connectors import delta_tables
from afterclick.connectors.checkpoints import committed_offsets
from afterclick.errors import StoreUnavailableError
from afterclick.job_runner import runbook_section
from afterclick.local.jars import broker_jars, default_cache_dir
from afterclick.local.java import find_java
from afterclick.local.kafka import create_topic, start_kafka
from afterclick.local.processes import free_port, kill_process, running_pid, stop_process
from afterclick.settings import Settings, load_settings
from builders import make_message
from conftest import installation_variables
from jobs import ingest_events
from suspended import resume, suspend

GRANTED = {"consent": {"categoryPreferences": {"analytics": True}}}


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Return what starts a broker of this test's own, on one port."""
    cache, port = default_cache_dir(), free_port()
    (tmp_path / "port").write_text(str(port))
    yield partial(start_kafka, tmp_path, broker_jars(cache), find_java(cache), port=port)
    if pid := running_pid(tmp_path, "kafka"):
        resume(pid)
    stop_process(tmp_path, "kafka")


@pytest.fixture
def collector(start_broker: Callable[[], None], tmp_path: Path) -> Iterator[TestClient]:
    """Run a collector on that broker, impatient."""
    start_broker()
    address = f"127.0.0.1:{(tmp_path / 'port').read_text()}"
    more = {
        "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": address,
        "AFTERCLICK_COLLECTOR__DELIVERY_TIMEOUT_SECONDS": "4",
    }
    settings = load_settings("local", variables=installation_variables(tmp_path / "state", **more))
    create_topic(address, "events", 1)
    sink = open_sink(settings)
    with TestClient(create_app(settings, sink, lambda: datetime.now(UTC))) as client:
        yield client


def open_sink(settings: Settings, seconds: float = 30.0) -> KafkaSink:
    """Open the sink; a broker that has just started may be slower than the impatient time-out."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return KafkaSink(settings.kafka, settings.collector)
        except StoreUnavailableError:
            if time.monotonic() > deadline:
                raise


def post(client: TestClient, message_id: str) -> int:
    message = {
        "type": "track", "event": "Product Viewed", "userId": "ada", "messageId": message_id,
        "properties": {"product_id": "mug", "note": "x" * 2000}, "context": GRANTED,
    }  # fmt: skip
    answer = client.post("/v1/batch", json={"batch": [message]}, auth=("test-write-key", ""))
    assert answer.status_code == 200 or answer.headers["Retry-After"]
    return int(answer.status_code)


def post_until_200(client: TestClient, message_id: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while post(client, message_id) != 200:
        assert time.monotonic() < deadline, "the collector did not come back"


def stored_ids(tmp_path: Path) -> set[str]:
    address = f"127.0.0.1:{(tmp_path / 'port').read_text()}"
    consumer = KafkaConsumer(
        "events", bootstrap_servers=address, auto_offset_reset="earliest", consumer_timeout_ms=3000
    )
    found = {json.loads(record.value)["event_id"] for record in consumer}
    consumer.close()
    return found


def test_collector_acknowledges_nothing_while_the_broker_is_dead(
    collector: TestClient, start_broker: Callable[[], None], tmp_path: Path
) -> None:
    assert post(collector, "before") == 200
    kill_process(tmp_path, "kafka")
    begun = time.monotonic()
    statuses = {post(collector, f"during-{n}") for n in range(3)}
    took = time.monotonic() - begun
    assert statuses == {503}
    assert took < 3 * 6
    assert collector.get("/health/ready").status_code == 503

    start_broker()
    post_until_200(collector, "after")

    assert {"before", "after"} <= stored_ids(tmp_path)


def test_collector_acknowledges_nothing_while_the_broker_hangs(collector: TestClient, tmp_path: Path) -> None:
    assert post(collector, "before") == 200
    pid = running_pid(tmp_path, "kafka")
    assert pid
    suspend(pid)
    try:
        statuses = {post(collector, f"during-{n}") for n in range(2)}
    finally:
        resume(pid)
    assert statuses == {503}
    post_until_200(collector, "after")

    assert {"before", "after"} <= stored_ids(tmp_path)


def test_collector_goes_on_with_a_broker_that_lost_its_last_events(
    collector: TestClient, start_broker: Callable[[], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a loss of power: the producer's numbers are ahead of the broker's, an error that librdkafka calls fatal."""
    assert [post(collector, f"before-{n}") for n in range(4)] == [200] * 4
    kill_process(tmp_path, "kafka")
    (log,) = (tmp_path / "kafka").rglob("events-0/*.log")
    for snapshot in log.parent.glob("*.snapshot"):
        snapshot.unlink()
    os.truncate(log, log.stat().st_size * 5 // 8)

    start_broker()
    post_until_200(collector, "after")

    found = stored_ids(tmp_path)
    assert {"before-0", "after"} <= found
    assert "before-3" not in found
    assert "producer ended by a fatal error" in caplog.text


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="limits of another process: Linux only")
def test_collector_acknowledges_only_what_a_full_broker_stored(
    collector: TestClient, start_broker: Callable[[], None], tmp_path: Path
) -> None:
    """A limit of its files' size stands in for a full disk: the next append fails in the same system call."""
    acked = [name for name in ("a-0", "a-1") if post(collector, name) == 200]
    assert len(acked) == 2
    pid = running_pid(tmp_path, "kafka")
    assert pid
    used = max(path.stat().st_size for path in (tmp_path / "kafka").rglob("events-0/*.log"))
    psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (used + 1_000, resource.RLIM_INFINITY))

    answers = {name: post(collector, name) for name in (f"b-{n}" for n in range(5))}
    acked += [name for name, status in answers.items() if status == 200]
    assert set(answers.values()) & {429, 503}

    kill_process(tmp_path, "kafka")
    start_broker()
    assert set(acked) <= stored_ids(tmp_path)


def send(live: Settings, partition: int, *ids: str) -> None:
    producer = KafkaProducer(bootstrap_servers=live.kafka.bootstrap_servers)
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for event_id in ids:
        value = json.dumps(make_message(event_id=event_id, event_at=now, received_at=now)).encode()
        producer.send(live.kafka.events_topic, value=value, partition=partition)
    producer.flush()
    producer.close()


def ingest_until(spark: SparkSession, live: Settings, offsets: dict[int, int]) -> None:
    """Run ingest until it has committed these offsets; raises what ended the query."""
    fast = live.model_copy(update={"quality": live.quality.model_copy(update={"sample_rows": 0})})
    query = ingest_events.start(spark, fast)
    folder = Path(live.storage.checkpoints) / ingest_events.QUERY
    try:
        deadline = time.monotonic() + 200
        while committed_offsets(folder, live.kafka.events_topic) != offsets:
            if error := query.exception():
                raise error
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        delta_tables.stop_between_batches(query)


def ids_in(spark: SparkSession, live: Settings) -> set[str]:
    return {row.event_id for row in delta_tables.read_table(spark, live, "events").collect()}


def administer(live: Settings, change: Callable[[Any], Any]) -> None:
    admin = KafkaAdminClient(bootstrap_servers=live.kafka.bootstrap_servers)
    change(admin)
    admin.close()


def test_ingest_fails_with_a_runbook_line_when_retention_was_faster(spark: SparkSession, live: Settings) -> None:
    send(live, 0, "a", "b")
    ingest_until(spark, live, {0: 2, 1: 0})
    send(live, 0, "c", "d", "e")
    administer(live, lambda admin: admin.delete_records({TopicPartition(live.kafka.events_topic, 0): 4}))

    with pytest.raises(StreamingQueryException) as failure:
        ingest_until(spark, live, {0: 5, 1: 0})

    assert runbook_section(str(failure.value)) == "A hole in Kafka"
    assert ids_in(spark, live) == {"a", "b"}


def test_ingest_fails_with_a_runbook_line_when_the_topic_was_created_anew(spark: SparkSession, live: Settings) -> None:
    send(live, 0, "a", "b", "c")
    ingest_until(spark, live, {0: 3, 1: 0})
    topic = live.kafka.events_topic
    administer(live, lambda admin: admin.delete_topics([topic]))
    time.sleep(1)
    create_topic(live.kafka.bootstrap_servers, topic, 2)
    send(live, 0, "d")

    with pytest.raises(StreamingQueryException) as failure:
        ingest_until(spark, live, {0: 1, 1: 0})

    assert runbook_section(str(failure.value)) == "A hole in Kafka"


def test_ingest_reads_added_partitions_from_their_beginning(spark: SparkSession, live: Settings) -> None:
    send(live, 0, "a")
    ingest_until(spark, live, {0: 1, 1: 0})
    administer(live, lambda admin: admin.create_partitions({live.kafka.events_topic: NewPartitions(4)}))
    time.sleep(1)
    send(live, 3, "b", "c")

    ingest_until(spark, live, {0: 1, 1: 0, 2: 0, 3: 2})

    assert ids_in(spark, live) == {"a", "b", "c"}
