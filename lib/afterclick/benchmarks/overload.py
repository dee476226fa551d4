"""More than the collector can take: nothing acknowledged is lost, the rest is told when to come back.

Capacity is measured first, closed loop; then two, five and ten times as much is offered, whether answered or not.
"""

from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from afterclick.benchmarks import http_load
from afterclick.benchmarks.collector import BATCH, CONNECTIONS, batch_posts, sample_messages, start_collector
from afterclick.local.services import Service, stopping
from afterclick.settings import Settings

TIMES = (2, 5, 10)
_FEW = {"AFTERCLICK_COLLECTOR__MAX_IN_FLIGHT": "1000"}
_OPEN = 200
"""Connections of the flood: more posts at once than may wait for Kafka."""


def measure(settings: Settings, *, announce: Callable[[str], None], quick: bool = False) -> dict[str, Any]:
    """Return by load: acknowledged and refused events, lost ones (must be 0), p99 of the acknowledged."""
    posts = batch_posts(settings, sample_messages(4_000 if quick else 20_000), BATCH)
    running: list[Service] = []
    by_load: dict[str, Any] = {}
    with stopping(running):
        running.append(start_collector(settings, **_FEW))
        calm = http_load.send(settings.collector.base_url, posts, connections=CONNECTIONS // 2)
        capacity = len(posts) / calm.lasted
        announce(f"capacity {capacity * BATCH:,.0f} events/s; offering {', '.join(f'{t} x' for t in TIMES)}")
        for times in TIMES:
            before = _stored(settings)
            offered = posts * (1 if quick else 2)
            load = http_load.send(settings.collector.base_url, offered, connections=_OPEN, rate=capacity * times)
            acked = load.statuses[200] * BATCH
            stored = _stored(settings) - before
            by_load[f"{times}x"] = {
                "offered": len(offered) * BATCH,
                "acked": acked,
                "lost": max(0, acked - stored),
                "acked_per_second": round(acked / load.lasted),
                "statuses": dict(load.statuses),
                "without_retry_after": load.without_wait,
                "p99_ms": load.percentile_ms(99),
            }
    slowest = min(figures["acked_per_second"] for figures in by_load.values())
    return {
        "measured": slowest,
        "baseline": round(capacity * BATCH),
        "ratio": round(slowest / (capacity * BATCH), 3),
        "runs": 1,
        "lost": sum(figures["lost"] for figures in by_load.values()),
        "by_load": by_load,
    }


def _stored(settings: Settings) -> int:
    """Return the number of messages in the topic."""
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers)
    topic = settings.kafka.events_topic
    ends = consumer.end_offsets([TopicPartition(topic, part) for part in consumer.partitions_for_topic(topic)])
    consumer.close()
    return sum(ends.values())
