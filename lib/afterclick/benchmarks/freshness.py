"""From the client's post to the API answer that covers it, all jobs running, stage by stage.

Floor: the same broker and Spark settings, one query whose ``foreachBatch`` only reads the arrival times.
"""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import numpy as np
from kafka import KafkaProducer
from pyspark.sql import DataFrame

from afterclick.benchmarks import nights
from afterclick.benchmarks.soak import visits
from afterclick.benchmarks.whole_path import POLL_SECONDS, PROBED, Pace, hurried, open_clients, running_path, stamped
from afterclick.connectors import delta_tables, kafka_source
from afterclick.local import demo
from afterclick.local.freshness import FreshnessProbe, percentiles_ms
from afterclick.local.jars import default_cache_dir, spark_jars
from afterclick.local.kafka import create_topic
from afterclick.local.simulator import Basket
from afterclick.query_metrics import BatchReport, read_reports
from afterclick.settings import Settings
from afterclick.spark_session import build_spark

FLOOR_WARM_UP_SECONDS = 30
FLOOR_SECONDS = 20
_QUICK_FLOOR_SECONDS = 5
_AFTER_SWITCH_SECONDS = 10


def measure(settings: Settings, pace: Pace, *, announce: demo.Announce) -> dict[str, Any]:
    """Run the whole path at a pace, then the floor.

    Returns
    -------
    dict
        p50, p95, p99 in ms; `stages` with the median and share of each; `floor`; samples and events; `through_switch`: the
        same ms while another version is warmed and takes over, and seconds of both steps (not of a quick look).
    """
    settings = hurried(settings, pace)
    with running_path(settings, announce, is_quick=pace.is_quick, with_candidate=not pace.is_quick) as path:
        baskets = list(path.baskets)
        announce(f"sending {pace.rate:g} events/s for {pace.warm_up:g} + {pace.seconds:g} s")
        probe = asyncio.run(_send(settings, iter(baskets), pace))
        log = path.log("recommendations")
        switched = None
        if not pace.is_quick:
            announce("sending on while another version is warmed and takes over")
            switched = asyncio.run(_send_through_switch(settings, baskets, pace))
    reports = read_reports(log, "update_recommendations")
    stages = stage_figures(probe.samples, reports)
    announce("measuring the floor: no-op foreachBatch")
    floor = _floor(settings, pace)
    figures = percentiles_ms([sample["total"] for sample in probe.samples])
    return {
        **figures,
        "stages": stages,
        "batch_parts": batch_parts(reports[-(len(reports) // 3) :]),
        "through_switch": switched,
        "floor": floor,
        "samples": len(probe.samples),
        "missed": probe.missed,
        "rate": pace.rate,
    }


def stage_figures(samples: list[dict[str, float]], batches: list[BatchReport]) -> dict[str, dict[str, float]]:
    """Return the median in ms and the share of the total of each stage.

    collector: post to acknowledgement · broker_wait: to the begin of the batch that took it · batch: to the moment
    its list was computed · redis: to the answer that shows it (store, API and the probe's own 10 ms polling).
    """
    begun = np.array([datetime.fromisoformat(batch.began_at).timestamp() for batch in batches])
    parts: dict[str, list[float]] = {"collector": [], "broker_wait": [], "batch": [], "redis": []}
    for sample in samples:
        before = begun[begun <= sample["generated_at"]]
        if not len(before):
            continue
        batch_at = max(before.max(), sample["acked_at"])
        parts["collector"].append(sample["acked_at"] - sample["posted_at"])
        parts["broker_wait"].append(batch_at - sample["acked_at"])
        parts["batch"].append(max(0.0, sample["generated_at"] - batch_at))
        parts["redis"].append(max(0.0, sample["seen_at"] - max(sample["generated_at"], batch_at)))
    total = sum(map(sum, parts.values())) or 1.0
    return {
        name: {"p50": round(float(np.median(values)) * 1000, 1), "share": round(sum(values) / total, 3)}
        for name, values in parts.items()
        if values
    }


def batch_parts(batches: Sequence[BatchReport]) -> dict[str, dict[str, float]]:
    """Return the median in ms and the share of each part of a batch, by Spark's own times.

    source: asking Kafka for offsets · planning · write: the job and our writer · checkpoint: its files · rest: bookkeeping.
    """
    parts = {
        "source": [batch.offsets_ms for batch in batches],
        "planning": [batch.planning_ms for batch in batches],
        "write": [batch.write_ms for batch in batches],
        "checkpoint": [batch.log_ms for batch in batches],
    }
    total = [batch.ms for batch in batches]
    parts["rest"] = [whole - sum(some) for whole, *some in zip(total, *parts.values(), strict=True)]
    return {
        name: {"p50": float(np.median(ms)), "share": round(sum(ms) / max(1, sum(total)), 3)}
        for name, ms in parts.items()
        if batches
    }


async def _send(settings: Settings, baskets: Iterator[Basket], pace: Pace) -> FreshnessProbe:
    rate = pace.rate
    plan = demo.DemoPlan(events=int(rate * (pace.warm_up + pace.seconds)), rate=rate)
    messages = demo.planned_messages(baskets, plan, now=datetime.now(UTC))
    warm = int(rate * pace.warm_up)
    async with open_clients(settings) as clients, asyncio.TaskGroup() as probes:
        probe = FreshnessProbe(clients.to_api, poll_seconds=POLL_SECONDS)
        await clients.send(messages[:warm], rate=rate)
        await clients.send(messages[warm:], rate=rate, on_acked=demo.prober(probe, probes, plan.seed, share=PROBED))
    return probe


async def _send_through_switch(settings: Settings, baskets: Sequence[Basket], pace: Pace) -> dict[str, float]:
    """Send at the same rate until a while after the switch; probe as before."""
    is_over = threading.Event()
    messages = takewhile(lambda _: not is_over.is_set(), stamped(visits(baskets)))

    async def end_after_switch() -> dict[str, float]:
        try:
            took = await nights.serve_candidate(settings)
            await asyncio.sleep(_AFTER_SWITCH_SECONDS)
        finally:
            is_over.set()
        return took

    async with open_clients(settings) as clients, asyncio.TaskGroup() as tasks:
        probe = FreshnessProbe(clients.to_api, poll_seconds=POLL_SECONDS)
        night = tasks.create_task(end_after_switch())
        await clients.send(messages, rate=pace.rate, on_acked=demo.prober(probe, tasks, 2, share=PROBED))
    return {**percentiles_ms([one["total"] for one in probe.samples]), **night.result(), "missed": probe.missed}


def _floor(settings: Settings, pace: Pace) -> dict[str, float]:
    """Kafka's append time to a ``foreachBatch`` that reads only the times."""
    topic = "freshness-floor"
    create_topic(settings.kafka.bootstrap_servers, topic, settings.kafka.events_partitions)
    kafka = settings.kafka.model_copy(update={"events_topic": topic})
    spark = build_spark("freshness floor", settings.spark, jars=spark_jars(default_cache_dir()))
    delays: list[tuple[float, float]] = []

    def note_delays(batch: DataFrame, _: int) -> None:
        appended = batch.toArrow()["at"].to_numpy()
        now = time.time()
        delays.extend((at, now - at) for at in (appended / 1000).tolist())

    times = kafka_source.read_event_stream(spark, kafka, most=kafka.max_offsets_per_trigger).selectExpr(
        "unix_millis(timestamp) AS at"
    )
    query = delta_tables.start_stream(times, "freshness_floor", note_delays, settings, trigger_ms=0, pool="fast")
    warm_up, seconds = [_QUICK_FLOOR_SECONDS] * 2 if pace.is_quick else [FLOOR_WARM_UP_SECONDS, FLOOR_SECONDS]
    begun = time.time()
    _produce(kafka.bootstrap_servers, topic, pace.rate, warm_up + seconds)
    query.processAllAvailable()
    delta_tables.stop_between_batches(query)
    spark.stop()
    return percentiles_ms([delay for at, delay in delays if at >= begun + warm_up])


def _produce(servers: str, topic: str, rate: float, seconds: float) -> None:
    producer = KafkaProducer(bootstrap_servers=servers)
    due = time.monotonic()
    for number in range(int(rate * seconds / 5)):
        for _ in range(5):
            producer.send(topic, key=str(number % 997).encode(), value=b"{}" * 150)
        due += 5 / rate
        time.sleep(max(0.0, due - time.monotonic()))
    producer.flush()
    producer.close()
