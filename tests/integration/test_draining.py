"""Waiting until all that was sent has its fate: a real topic, and checkpoints as Spark writes them."""

import asyncio
import json
from pathlib import Path

import pytest
from kafka import KafkaProducer

from afterclick.connectors.checkpoints import end_offsets
from afterclick.errors import LocalStackError
from afterclick.local import services
from afterclick.local.draining import wait_until_drained
from afterclick.settings import Settings

SESSIONS = ["build_sessions"]
WATERMARKS = ("batchWatermarkMs", "nextBatchWatermarkMs")


def commit(
    settings: Settings, query: str, batch_id: int, offsets: dict[int, int], *, watermark_ms: tuple[int, int] = (0, 0)
) -> None:
    """Write what Spark writes when a batch is done, with the watermark before and after it."""
    source = json.dumps({settings.kafka.events_topic: {str(number): offset for number, offset in offsets.items()}})
    before, after = (json.dumps({name: ms}) for name, ms in zip(WATERMARKS, watermark_ms, strict=True))
    for folder, text in (("offsets", f"v1\n{before}\n{source}"), ("commits", f"v1\n{after}")):
        file = Path(settings.storage.checkpoints) / query / folder / str(batch_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


@pytest.fixture
def end(live: Settings) -> dict[int, int]:
    producer = KafkaProducer(bootstrap_servers=live.kafka.bootstrap_servers)
    for partition in (0, 0, 1):
        producer.send(live.kafka.events_topic, b"{}", partition=partition)
    producer.close()
    return end_offsets(live.kafka.bootstrap_servers, live.kafka.events_topic)


def test_one_message_short_is_not_drained(live: Settings, end: dict[int, int]) -> None:
    commit(live, "build_sessions", 0, end | {0: end[0] - 1})

    async def finish_later() -> bool:
        waiting = asyncio.create_task(wait_until_drained(live, [], SESSIONS))
        await asyncio.sleep(1)
        early = waiting.done()
        commit(live, "build_sessions", 1, end)
        await asyncio.wait_for(waiting, 2)
        return early

    assert not asyncio.run(finish_later())


def test_a_watermark_that_the_last_messages_moved_waits_for_the_batch_that_closes_sessions(
    live: Settings, end: dict[int, int]
) -> None:
    commit(live, "build_sessions", 0, end, watermark_ms=(0, 60_000))

    async def waited() -> bool:
        waiting = asyncio.create_task(wait_until_drained(live, [], SESSIONS))
        await asyncio.sleep(1)
        early = waiting.done()
        commit(live, "build_sessions", 1, end, watermark_ms=(60_000, 60_000))
        await asyncio.wait_for(waiting, 2)
        return early

    assert not asyncio.run(waited())


def test_a_service_that_ended_stops_the_wait(live: Settings, end: dict[int, int]) -> None:
    commit(live, "build_sessions", 0, end | {1: 0})
    ended = services.start_service("ended", ["-c", "raise SystemExit(3)"], live)
    ended.process.wait()

    with pytest.raises(LocalStackError, match="exit code 3"):
        asyncio.run(wait_until_drained(live, [ended], SESSIONS))
