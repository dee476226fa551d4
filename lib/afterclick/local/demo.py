"""The whole path on real parts: history, model, live replay, and what became of every event.

Steps in the order in which `commands.demo` calls them; the terminal view there reads `Progress`.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pandas as pd
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.connectors.model_registry import open_registry
from afterclick.local import complete_journey, services
from afterclick.local.demo_report import Progress, choose_person, is_plain, replay_figures, shown_person
from afterclick.local.draining import wait_until_drained
from afterclick.local.freshness import FreshnessProbe
from afterclick.local.jars import default_cache_dir, spark_jars
from afterclick.local.sender import LIMITS, Message, SendCounts, send
from afterclick.local.simulator import Basket, Mischief, shift_baskets, visit_messages
from afterclick.promotion import switch
from afterclick.settings import Settings
from afterclick.spark_session import build_spark

Announce = Callable[[str], None]


def _memory(heap: str) -> dict[str, str]:
    """Return what a stream may have: its heap at once; outside it two arenas, whose free parts go back (decision 66)."""
    options = f"-Xms{heap} -XX:+AlwaysPreTouch -XX:TrimNativeHeapInterval=60000"
    keys = {"MEMORY": heap, "DEFAULTJAVAOPTIONS": options}
    return {"MALLOC_ARENA_MAX": "2"} | {f"AFTERCLICK_SPARK__SPARK.DRIVER.{key}": value for key, value in keys.items()}


STREAMS: dict[str, tuple[tuple[str, ...], bool, dict[str, str]]] = {
    "recommendations": (("update_recommendations",), False, _memory("1g")),
    "bulk": (
        ("ingest_events", "build_sessions"),
        True,
        {"AFTERCLICK_SPARK__SPARK.MASTER": "local[1]", **_memory("1500m")},
    ),
}
"""Queries, in the background or not, and settings of each Spark application: a list must not wait for a Delta commit."""
FAST, BULK = [(name,) for name in STREAMS]
QUERIES = tuple(name for queries, _, _ in STREAMS.values() for name in queries)
PROBED = 0.05
"""Share of posts whose way to the API is measured."""
MOST_PROBES = 1
STARTING_SECONDS = 300
"""Until a service must work; a machine that does other things beside takes minutes."""
BATCH = 15
"""Messages a post, as many as Segment's server SDK for Node gathers."""


@dataclass(frozen=True)
class DemoPlan:
    """What to replay."""

    events: int
    rate: float
    seed: int = 20261124
    kill_streams: bool = False
    mischief: Mischief = field(default_factory=Mischief)


@contextmanager
def demo_session(settings: Settings) -> Iterator[SparkSession]:
    """Give the demo its own Spark application, for what nightly jobs do and for the recount."""
    spark = build_spark("demo", {**settings.spark, "spark.master": "local[*]"}, jars=spark_jars(default_cache_dir()))
    try:
        yield spark
    finally:
        spark.stop()


def prepare(
    spark: SparkSession,
    settings: Settings,
    lines: pd.DataFrame,
    announce: Announce,
    *,
    when_imported: Callable[[], None] = lambda: None,
) -> tuple[Iterator[Basket], dict[str, str]]:
    """Import the history, train and register the first model, warm the cache.

    Parameters
    ----------
    lines
        `complete_journey.read_lines`.
    when_imported
        Called once the tables are there: what starts slowly can do so while the model is trained.

    Returns
    -------
    baskets
        What is left to replay.
    names
        Product name by item id.
    """
    from jobs import import_history, promote_model, train_model, warm_cache  # noqa: PLC0415 - jobs import connectors, we sit above

    history = complete_journey.history_log(lines)
    announce(f"importing {history.num_rows:,} lines of history into Delta")
    purposes = ("analytics", "personalisation")
    import_history.import_log(spark, settings, history, digest="complete-journey", purposes=purposes)
    delta_tables.ensure_tables(spark, settings, ["items"])
    items = spark.createDataFrame(complete_journey.catalogue(lines))
    delta_tables.append_once(items, settings, query="demo_catalogue", table="items", batch_id=0)
    when_imported()
    announce("training the first model (implicit ALS) and registering it in MLflow")
    version = train_model.train_candidate(spark, settings, f"{datetime.now(UTC):%Y-%m-%d}")
    announce(f"judging model version {version} by people it has not seen")
    promote_model.judge_candidate(spark, settings, version)
    announce("warming the cache and switching to it")
    warm_cache.write_lists(spark, settings, version)
    switch(open_registry(settings), settings, version)
    baskets = complete_journey.replay_baskets(lines)
    names = dict(zip(lines["item_id"], lines["name"], strict=True))
    return baskets, names


def planned_messages(baskets: Iterator[Basket], plan: DemoPlan, *, now: datetime) -> list[Message]:
    """Return exactly ``plan.events`` messages in order, the last visit ending at about `now`."""
    draw = random.Random(plan.seed)  # noqa: S311 - a repeatable simulation
    needed = list(_until(baskets, plan.events))
    shifted = shift_baskets(needed, last_at=now - timedelta(seconds=5))
    messages = (message for basket in shifted for message in visit_messages(basket, draw, plan.mischief))
    return list(itertools.islice(messages, plan.events))


def _until(baskets: Iterator[Basket], events: int) -> Iterator[Basket]:
    expected = 0
    for basket in baskets:
        if expected >= events:
            return
        expected += 2 * len(basket.lines) + 1
        yield basket


def start_services(
    settings: Settings, running: list[services.Service], *, bulk_variables: Mapping[str, str] | None = None
) -> None:
    """Start collector, API and streams, and wait for all of them; `bulk_variables` are settings of the bulk streams."""
    launch_fast_path(settings, running)
    start_streams(settings, running, only=BULK, more=bulk_variables)
    wait_for_services(settings, running)


def launch_fast_path(settings: Settings, running: list[services.Service]) -> None:
    """Start collector, API and recommendations: none of them needs a table."""
    running.append(services.start_service("collector", ["-m", "afterclick.cli", "collector"], settings))
    running.append(services.start_service("api", ["-m", "afterclick.cli", "serve"], settings))
    start_streams(settings, running, only=FAST)


def wait_for_services(settings: Settings, running: list[services.Service]) -> None:
    """Wait until collector, API and streams work; the API needs a model."""
    seconds = STARTING_SECONDS
    services.wait_until_ready(running[0], f"{settings.collector.base_url}/health/ready", seconds=seconds)
    services.wait_until_ready(running[1], f"{settings.serving.base_url}/health/ready", seconds=seconds)
    for service in running[2:]:
        started = [f"query started name={name}" for name in STREAMS[service.name][0]]
        services.wait_until_logged(service, started, seconds=seconds)


def start_streams(
    settings: Settings,
    running: list[services.Service],
    only: Sequence[str] = tuple(STREAMS),
    more: Mapping[str, str] | None = None,
) -> None:
    """Start Spark applications of `STREAMS`; `more` are further settings of theirs, as variables."""
    for name in only:
        queries, in_background, variables = STREAMS[name]
        arguments = ["-m", "jobs.run_streams", "--queries", *queries]
        given = {**variables, **(more or {})}
        service = services.start_service(name, arguments, settings, in_background=in_background, variables=given)
        running.append(service)


def kill_streams(running: list[services.Service]) -> None:
    """End the Spark applications as a crash would."""
    while running[-1].name in STREAMS:
        services.kill_service(running.pop())


async def replay(
    settings: Settings,
    plan: DemoPlan,
    messages: list[Message],
    names: dict[str, str],
    running: list[services.Service],
    *,
    watch: Callable[[Progress], Coroutine[None, None, None]],
    begun_at: float,
) -> dict[str, Any]:
    """Send everything, measure on the way, wait until all of it has its fate, and return the figures."""
    people = sorted({message["userId"] for message in messages})
    write_key = settings.collector.write_keys[0].get_secret_value()
    async with (
        httpx.AsyncClient(base_url=settings.collector.base_url, timeout=30.0, limits=LIMITS) as to_collector,
        httpx.AsyncClient(base_url=settings.serving.base_url, timeout=10.0, limits=LIMITS) as to_api,
    ):
        before = await _lists(to_api, people)
        progress = Progress(len(messages), SendCounts(), FreshnessProbe(to_api), begun_at, names)
        choose_person(progress, messages, before)
        watching = asyncio.create_task(watch(progress))
        async with asyncio.TaskGroup() as probes:
            probing = prober(progress.probe, probes, plan.seed)
            half = len(messages) // 2
            post = partial(send, rate=plan.rate, counts=progress.counts, batch_size=BATCH, on_acked=probing)
            await post(messages[:half], to_collector, write_key)
            if plan.kill_streams:
                kill_streams(running)
                start_streams(settings, running)
            await post(messages[half:], to_collector, write_key)
        denied = await _denied(to_collector)
        await wait_until_drained(settings, running, QUERIES)
        watching.cancel()
        after = await _lists(to_api, people)
    figures = replay_figures(progress, before, after, denied)
    return figures | {"shown": shown_person(progress, after)}


def prober(
    probe: FreshnessProbe, probes: asyncio.TaskGroup, seed: int, *, share: float = PROBED
) -> Callable[[Any, float], None]:
    """Return what `sender.send` calls after each post: measures a share of them."""
    draw = random.Random(seed + 1)  # noqa: S311 - a repeatable sample

    def after_post(batch: list[Message], posted_at: float) -> None:
        last = batch[-1]
        # One at a time: it polls the API fifty times a second.
        if probe.active < MOST_PROBES and draw.random() < share and is_plain(last):
            probes.create_task(probe.measure(last["userId"], posted_at, time.time()))

    return after_post


async def _lists(api: httpx.AsyncClient, people: list[str]) -> dict[str, dict[str, Any]]:
    gate = asyncio.Semaphore(16)

    async def one(person: str) -> dict[str, Any]:
        async with gate:
            answer = await api.get(f"/v1/recommendations/{person}", params={"n": 10, "explain": "true"})
            answer.raise_for_status()
            return dict(answer.json())

    return dict(zip(people, await asyncio.gather(*map(one, people)), strict=True))


async def _denied(collector: httpx.AsyncClient) -> int:
    text = (await collector.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("afterclick_collector_events_total")]
    return int(sum(float(line.split()[-1]) for line in lines if 'fate="no_consent"' in line))
