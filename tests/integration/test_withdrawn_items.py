"""What was withdrawn stays withdrawn, whatever becomes of Redis."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from afterclick.connectors import redis_store
from afterclick.connectors.withdrawn_items import WithdrawnItems, withdrawn_key
from afterclick.errors import StoreUnavailableError
from afterclick.settings import Settings
from afterclick.withdrawals import keep_following


def told(settings: Settings) -> set[bytes]:
    """Return what the API reads."""
    members: Any = redis_store.connect(settings.redis).client.smembers(withdrawn_key(settings.redis.prefix))
    return set(members)


def wipe(settings: Settings) -> None:
    redis_store.connect(settings.redis).client.delete(withdrawn_key(settings.redis.prefix))


async def follow_until(settings: Settings, expected: set[bytes]) -> None:
    work = asyncio.create_task(keep_following(settings))
    try:
        async with asyncio.timeout(10):
            while told(settings) != expected:
                await asyncio.sleep(0.05)
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


def test_a_collector_tells_the_api_again_after_redis_was_wiped(live: Settings) -> None:
    WithdrawnItems(live).withdraw(["mug-1", "mug-2", "mug-1"])
    WithdrawnItems(live).restore(["mug-2", "never-withdrawn"])
    wipe(live)

    asyncio.run(follow_until(live, {b"mug-1"}))

    assert WithdrawnItems(live).read() == ["mug-1"]
    assert not WithdrawnItems(live).publish()


def test_what_somebody_else_changed_in_the_set_is_put_right(live: Settings) -> None:
    items = WithdrawnItems(live)
    items.withdraw(["mug-1"])
    redis_store.connect(live.redis).client.sadd(withdrawn_key(live.redis.prefix), "mug-3")

    assert items.publish()

    assert told(live) == {b"mug-1"}


def test_the_set_of_a_version_that_had_no_database_is_taken_over_and_the_last_item_can_be_restored(
    live: Settings,
) -> None:
    redis_store.connect(live.redis).client.sadd(withdrawn_key(live.redis.prefix), "mug-1", "mug-2")
    items = WithdrawnItems(live)

    assert not items.publish()
    assert items.read() == ["mug-1", "mug-2"]
    items.restore(["mug-1", "mug-2"])

    assert told(live) == set()
    assert not items.publish()  # not taken over once more: the database was told of them


def test_an_item_withdrawn_while_redis_is_away_is_noted_and_the_error_says_who_will_tell(live: Settings) -> None:
    away = live.model_copy(
        update={"redis": live.redis.model_copy(update={"url": type(live.redis.url)("redis://127.0.0.1:1/0")})}
    )

    with pytest.raises(StoreUnavailableError, match=r"does not know yet .* collector tells it once Redis is back"):
        WithdrawnItems(away).withdraw(["mug-1"])

    assert WithdrawnItems(live).publish()
    assert told(live) == {b"mug-1"}


def test_two_that_publish_at_once_end_with_what_the_database_says(live: Settings) -> None:
    items = WithdrawnItems(live)
    items.withdraw([f"mug-{number}" for number in range(50)])
    wipe(live)

    async def publish_at_once() -> None:
        await asyncio.gather(*[asyncio.to_thread(WithdrawnItems(live).publish) for _ in range(8)])

    asyncio.run(publish_at_once())

    assert told(live) == {f"mug-{number}".encode() for number in range(50)}
