"""Recorded visits through the running pipeline: HTTP -> Kafka -> Spark -> Redis -> API, a list read before each event."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import httpx
import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from afterclick.errors import LocalStackError
from afterclick.local import demo, services
from afterclick.local.freshness import FreshnessProbe, percentiles_ms, read_epoch
from afterclick.local.sender import LIMITS, Message, SendCounts, send
from afterclick.pipeline_quality import LISTED, Reading
from afterclick.sequences import IntVector
from afterclick.settings import Settings

WARM_UP_SECONDS = 90
"""Sent first and not judged: code is compiled."""
_PROBED = 0.1
_HISTORY = "recorded-history"


@dataclass(frozen=True)
class Pace:
    """How fast events are sent: `rate` a second, a person's own `seconds` apart."""

    rate: float
    seconds: float

    @property
    def lanes(self) -> int:
        """Return how many people act at the same time."""
        return max(1, round(self.rate * self.seconds))


@dataclass
class _Run:
    """What a run knows so far, by event."""

    messages: Sequence[Message]
    at: dict[int, float] = field(default_factory=dict)
    places: dict[int, float] = field(default_factory=dict)
    known_at: dict[int, float] = field(default_factory=dict)
    is_personal: dict[int, bool] = field(default_factory=dict)
    counts: SendCounts = field(default_factory=SendCounts)


def prepare(spark: SparkSession, settings: Settings, train: pa.Table, announce: demo.Announce) -> str:
    """Import what happened before, train on it, write everybody's list and serve it; return the model's version.

    The gates are left out: every person is trained on, as offline, so that nobody is left to judge by.
    """
    from jobs import import_history, train_model, warm_cache  # noqa: PLC0415 - jobs import connectors, we sit above

    announce(f"importing {train.num_rows:,} events into Delta")
    purposes = ("analytics", "personalisation")
    import_history.import_log(spark, settings, train, digest=_HISTORY, purposes=purposes)
    announce("training a model on them")
    version = train_model.train_candidate(spark, settings, f"{datetime.now(UTC):%Y-%m-%d}")
    announce("warming the cache and switching to it")
    people = warm_cache.warm(spark, settings, version)
    announce(f"model {version} is served, lists of {people:,} people are written")
    return version


def replay(
    settings: Settings, messages: Sequence[Message], lanes: Sequence[IntVector], pace: Pace, announce: demo.Announce
) -> tuple[Reading, dict[str, float]]:
    """Start collector, API and the stream of lists, send every message, and return what was read and the lag in ms.

    Parameters
    ----------
    lanes
        Numbers of the messages that each lane sends one after another.
    """
    running: list[services.Service] = []
    with services.stopping(running):
        announce("starting collector, API and the stream of lists")
        demo.launch_fast_path(settings, running)
        demo.wait_for_services(settings, running)
        announce(f"sending {len(messages):,} events at {pace.rate:g}/s, {pace.lanes} people at a time")
        return read_while_sending(settings, messages, lanes, pace, warm_up=WARM_UP_SECONDS)


def read_while_sending(
    settings: Settings, messages: Sequence[Message], lanes: Sequence[IntVector], pace: Pace, *, warm_up: float
) -> tuple[Reading, dict[str, float]]:
    """Send every message to what is running, each after a look at its person's list; what `replay` returns.

    Parameters
    ----------
    warm_up
        Seconds from the first event on that are not measured.

    Raises
    ------
    LocalStackError
        If an event was not accepted.
    """
    run, probe = asyncio.run(_shop(settings, messages, lanes, pace))
    refused = len(messages) - len(run.counts.acked)
    if refused:
        raise LocalStackError(
            f"{refused} of {len(messages)} events were not accepted ({run.counts.refused}): see the logs"
        )
    numbers = range(len(messages))
    at = np.array([run.at[number] for number in numbers])
    reading = Reading(
        np.round(at * 1000).astype(np.int64),
        np.array([run.places[number] for number in numbers]),
        np.round(np.array([run.known_at[number] for number in numbers]) * 1000).astype(np.int64),
        np.array([run.is_personal[number] for number in numbers]),
        at >= at.min() + warm_up,
    )
    lags = [sample["total"] for sample in probe.samples if sample["posted_at"] >= at.min() + warm_up]
    return reading, percentiles_ms(lags) | {"samples": len(lags), "missed": probe.missed}


async def _shop(
    settings: Settings, messages: Sequence[Message], lanes: Sequence[IntVector], pace: Pace
) -> tuple[_Run, FreshnessProbe]:
    run = _Run(messages)
    key = settings.collector.write_keys[0].get_secret_value()
    async with (
        httpx.AsyncClient(base_url=settings.collector.base_url, timeout=60.0, limits=LIMITS) as to_collector,
        httpx.AsyncClient(base_url=settings.serving.base_url, timeout=60.0, limits=LIMITS) as to_api,
        asyncio.TaskGroup() as probes,
    ):
        probe = FreshnessProbe(to_api, poll_seconds=0.01)
        post = partial(send, client=to_collector, write_key=key, rate=0, counts=run.counts, batch_size=1)

        async def walk(lane: IntVector, begin: float) -> None:
            due = begin
            for number in lane.tolist():
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await _read(run, number, to_api)
                user, at = messages[number]["userId"], time.time()
                run.at[number] = at
                stamped = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
                await post([messages[number] | {"originalTimestamp": stamped}])
                if probe.active == 0 and next(turn) % round(1 / _PROBED) == 0:
                    probes.create_task(probe.measure(user, at, time.time()))
                due = max(due + pace.seconds, time.monotonic())

        turn = itertools.count()
        begin = time.monotonic()
        starts = begin + np.arange(len(lanes)) * pace.seconds / len(lanes)
        await asyncio.gather(*map(walk, lanes, starts.tolist()))
    return run, probe


async def _read(run: _Run, number: int, api: httpx.AsyncClient) -> None:
    """Ask for the list of whoever is about to act, and note where it has what they choose."""
    message = run.messages[number]
    user, chosen = message["userId"], message["properties"]["product_id"]
    answer = await api.get(f"/v1/recommendations/{user}", params={"n": LISTED})
    answer.raise_for_status()
    content = answer.json()
    listed = [item["item_id"] for item in content["items"]]
    run.places[number] = float(listed.index(chosen)) if chosen in listed else float("inf")
    run.known_at[number] = read_epoch(content["fresh_as_of"])
    run.is_personal[number] = content["source"] != "popular"
