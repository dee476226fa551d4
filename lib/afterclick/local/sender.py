"""Posts Segment messages to a collector at a steady rate and keeps count of every answer."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import httpx

Message = dict[str, Any]
LIMITS = httpx.Limits(max_connections=32, keepalive_expiry=3)
"""Our clients give an idle connection up before the service does (`keep_alive_seconds`): a request on a closed one fails."""
RETRY = frozenset({429, 503})


@dataclass
class SendCounts:
    """What was sent and answered so far; the message ids of `acked` are distinct."""

    acked: set[str] = field(default_factory=set)
    repeated: int = 0
    retried: int = 0
    refused: dict[int, int] = field(default_factory=dict)

    def add_acked(self, batch: Sequence[Message]) -> None:
        """Count a batch that was answered 200."""
        for message in batch:
            if message["messageId"] in self.acked:
                self.repeated += 1
            self.acked.add(message["messageId"])


async def send(
    messages: Iterable[Message],
    client: httpx.AsyncClient,
    write_key: str,
    *,
    rate: float,
    counts: SendCounts,
    batch_size: int = 5,
    on_acked: Callable[[Sequence[Message], float], None] | None = None,
) -> None:
    """Post `messages` in order in batches, `rate` messages a second; 0 = as fast as answered.

    Parameters
    ----------
    client
        Its ``base_url`` is the collector's.
    on_acked
        Called with each accepted batch and the `time.time` at which its post began.

    Notes
    -----
    Posts overlap, at most eight at a time; an answer of 429 or 503 is waited for and sent again, as SDKs do.
    """
    gate = asyncio.Semaphore(8)
    due = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        source = iter(messages)
        while batch := list(islice(source, batch_size)):
            await gate.acquire()
            task = tasks.create_task(_post(batch, client, write_key, counts, on_acked))
            task.add_done_callback(lambda _: gate.release())
            if rate:
                due = max(due + len(batch) / rate, time.monotonic() - 0.5)
                await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _post(
    batch: list[Message],
    client: httpx.AsyncClient,
    write_key: str,
    counts: SendCounts,
    on_acked: Callable[[Sequence[Message], float], None] | None,
) -> None:
    while True:
        posted_at = time.time()
        sent_at = datetime.fromtimestamp(posted_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        answer = await client.post("/v1/batch", json={"batch": batch, "sentAt": sent_at}, auth=(write_key, ""))
        if answer.status_code not in RETRY:
            break
        counts.retried += 1
        await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
    if answer.status_code != httpx.codes.OK:
        counts.refused[answer.status_code] = counts.refused.get(answer.status_code, 0) + len(batch)
        return
    counts.add_acked(batch)
    if on_acked:
        on_acked(batch, posted_at)
