"""Sends a planned load through the collector and past it, and notes every attempt and every status."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from kafka import KafkaProducer

from afterclick.faults.load import LoadPlan, Sent, good_message
from afterclick.faults.poison import POISONS
from afterclick.settings import Settings

_OPEN_POSTS = 3
_POST_SECONDS = 20
"""Event time in one post: what is open at once must stay far below the watermark."""
_LONGEST_WAIT_SECONDS = 1.0
"""Between two posts while the kills lag behind: a crash point that needs new data would never be reached without any."""
_UNANSWERED = 0


@dataclass
class LoadLedger:
    """The client's own account; `statuses` counts attempts, 0 = no answer."""

    attempted: set[Sent] = field(default_factory=set)
    acked: set[Sent] = field(default_factory=set)
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    poison: Counter[tuple[str, bytes | None]] = field(default_factory=Counter)
    """Messages past the collector that Kafka confirmed, by reason and value."""


async def send_load(
    settings: Settings, plan: LoadPlan, deliveries: list[Sent], ledger: LoadLedger, progress: Callable[[], float]
) -> None:
    """Send everything; each post again until it is answered 200, and never far ahead of the oldest open one.

    Parameters
    ----------
    progress
        Share of the kills done, 0-1: the load keeps pace, so that there is traffic at every one.
    """
    key = settings.collector.write_keys[0].get_secret_value()
    size = max(2, round(_POST_SECONDS / plan.step_seconds))
    batches = [deliveries[begin : begin + size] for begin in range(0, len(deliveries), size)]
    posts: list[asyncio.Task[None]] = []
    async with (
        httpx.AsyncClient(base_url=settings.collector.base_url, timeout=15.0, auth=(key, "")) as client,
        asyncio.TaskGroup() as tasks,
    ):
        poison = tasks.create_task(asyncio.to_thread(_send_poison, settings, plan, ledger, progress))
        for number, batch in enumerate(batches):
            due = time.monotonic() + _LONGEST_WAIT_SECONDS
            while number / len(batches) > progress() + 0.02 and time.monotonic() < due:
                await asyncio.sleep(0.05)
            if number >= _OPEN_POSTS:
                await posts[number - _OPEN_POSTS]
            posts.append(tasks.create_task(_post_until_acked(client, batch, ledger)))
        await poison


async def _post_until_acked(client: httpx.AsyncClient, batch: list[Sent], ledger: LoadLedger) -> None:
    body = {"batch": [event.message() for event in batch]}
    while True:
        ledger.attempted.update(batch)
        ledger.sent += len(batch)
        try:
            status = (await client.post("/v1/batch", json=body)).status_code
        except httpx.HTTPError:
            status = _UNANSWERED
        ledger.statuses[status] += 1
        if status == httpx.codes.OK:
            ledger.acked.update(batch)
            return
        await asyncio.sleep(0.3)


def _send_poison(settings: Settings, plan: LoadPlan, ledger: LoadLedger, progress: Callable[[], float]) -> None:
    """Write poison to Kafka while the kills go on; an idempotent producer that waits until the broker is back."""
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        delivery_timeout_ms=600_000,
        max_block_ms=600_000,
    )
    count = max(len(POISONS), int(plan.events * plan.poison))
    kinds = list(POISONS.values())
    pending = []
    for number in range(count):
        while number / count > progress() + 0.02:
            time.sleep(0.1)
        reason, spoil = kinds[number % len(kinds)]
        value = spoil(good_message(number, plan))
        pending.append(((reason, value), producer.send(settings.kafka.events_topic, value=value, key=b"%d" % number)))
    for poison, future in pending:
        future.get(timeout=600)
        ledger.poison[poison] += 1
    producer.close()
