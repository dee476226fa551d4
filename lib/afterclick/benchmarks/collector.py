"""Acknowledged events a second of one collector process, single and in batches, against a raw kafka-python producer.

The baseline sends the same messages as they came, with the collector's own delivery guarantees, in one process: all at
once, and for single posts also so that each waits for its report, as many at a time as the collector has connections.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec
from kafka import KafkaProducer

from afterclick.benchmarks import http_load
from afterclick.benchmarks.interleaved import compare
from afterclick.errors import LocalStackError
from afterclick.faults.load import LoadPlan, plan_deliveries
from afterclick.local.services import Service, start_service, stopping, wait_until_ready
from afterclick.settings import Settings

BATCH, CONNECTIONS = 100, 16
CALM_RATE = 200
"""Single posts a second at which the latency is taken."""
_UNLIMITED = {
    "AFTERCLICK_COLLECTOR__EVENTS_PER_SECOND": "1000000",
    "AFTERCLICK_COLLECTOR__MAX_IN_FLIGHT": "50000",
}


def measure(settings: Settings, *, announce: Callable[[str], None], quick: bool = False) -> dict[str, Any]:
    """Return events a second of both, by size of a post; `ratio` is that of batches."""
    events, runs = (4_000, 1) if quick else (20_000, 5)
    messages = sample_messages(events)
    running: list[Service] = []
    with stopping(running):
        running.append(start_collector(settings))
        batches = batch_posts(settings, messages, BATCH)
        key = settings.collector.write_keys[0].get_secret_value()
        singles = [http_load.post("/v1/track", message, key) for message in messages[: events // 5]]
        announce(f"{events:,} events in batches of {BATCH}, {runs} runs of each")
        raw = RawProducer(settings)
        batched = compare(lambda: all_acked(settings, batches), lambda: raw.send(messages), runs=runs)
        announce(f"{len(singles):,} events one by one")
        some = messages[: len(singles)]
        single = compare(lambda: all_acked(settings, singles), lambda: raw.send(some), runs=runs)
        waiting = compare(lambda: all_acked(settings, singles), lambda: raw.send_waiting(some), runs=runs)
        calm = http_load.send(
            settings.collector.base_url, singles[: len(singles) // 2], connections=CONNECTIONS, rate=CALM_RATE
        )
        raw.close()
    rates = {
        "batch": _rates(batched, events),
        "single": _rates(single, len(singles)),
        "single_each_awaited": _rates(waiting, len(singles)),
    }
    return {
        "measured": rates["batch"]["events_per_second"],
        "baseline": rates["batch"]["baseline_events_per_second"],
        "ratio": batched["ratio"],
        "runs": runs,
        "by_post": rates,
        "single_ms_at_rate": {"rate": CALM_RATE, "p50": calm.percentile_ms(50), "p99": calm.percentile_ms(99)},
    }


def sample_messages(events: int) -> list[bytes]:
    """Return Segment messages as JSON, all of them acceptable."""
    begins_at = datetime.now(UTC).replace(microsecond=0)
    plan = LoadPlan(events, 1, begins_at, late=0, future=0, denied=0, collisions=0, repeated=0)
    return [msgspec.json.encode(sent.message()) for sent in plan_deliveries(plan)]


def batch_posts(settings: Settings, messages: list[bytes], size: int) -> list[bytes]:
    """Return posts of `size` messages each."""
    key = settings.collector.write_keys[0].get_secret_value()
    parts = [messages[begin : begin + size] for begin in range(0, len(messages), size)]
    return [http_load.post("/v1/batch", b'{"batch": [' + b",".join(part) + b"]}", key) for part in parts]


def start_collector(settings: Settings, **variables: str) -> Service:
    """Start a collector without limits of rate but those given, and wait for it."""
    service = start_service(
        "collector", ["-m", "afterclick.cli", "collector"], settings, variables={**_UNLIMITED, **variables}
    )
    wait_until_ready(service, f"{settings.collector.base_url}/health/ready")
    return service


def all_acked(settings: Settings, posts: list[bytes]) -> None:
    """Send and see that all are answered 200.

    Raises
    ------
    LocalStackError
        If one is not.
    """
    load = http_load.send(settings.collector.base_url, posts, connections=CONNECTIONS)
    if load.statuses[200] != len(posts):
        message = f"of {len(posts)} posts only {load.statuses[200]} were answered 200: {dict(load.statuses)}"
        raise LocalStackError(message)


class RawProducer:
    """The same client library with the same guarantees and nothing around it."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.kafka.events_topic
        self._producer = KafkaProducer(
            bootstrap_servers=settings.kafka.bootstrap_servers, acks="all", enable_idempotence=True
        )

    def send(self, messages: list[bytes]) -> None:
        """Send all and wait for every delivery report."""
        reports = [
            self._producer.send(self._topic, value=message, key=b"%d" % number)
            for number, message in enumerate(messages)
        ]
        self._producer.flush()
        for report in reports:
            report.get(timeout=0)

    def send_waiting(self, messages: list[bytes]) -> None:
        """Send by as many threads as there are connections, each of which waits for a report before the next message."""

        def send(message: bytes) -> None:
            self._producer.send(self._topic, value=message, key=message[-16:]).get(timeout=30)

        with ThreadPoolExecutor(CONNECTIONS) as threads:
            list(threads.map(send, messages))

    def close(self) -> None:
        """End."""
        self._producer.close()


def _rates(compared: dict[str, Any], events: int) -> dict[str, Any]:
    return {
        "events_per_second": round(events / compared["measured_s"]),
        "baseline_events_per_second": round(events / compared["baseline_s"]),
        "ratio": compared["ratio"],
        "spread": compared["spread"],
    }
