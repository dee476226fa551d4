"""Reads of one turn of the event loop go to Redis together, and each gets its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio

from afterclick.serving.grouped_reads import GroupedReads
from afterclick.settings import Settings


@asynccontextmanager
async def reading(settings: Settings, seconds: float = 5.0) -> AsyncIterator[tuple[Any, GroupedReads]]:
    client = redis.asyncio.Redis.from_url(settings.redis.url.get_secret_value(), protocol=2)
    prefix = settings.redis.prefix
    try:
        await client.mset({f"{prefix}{number}": f"value {number}" for number in range(50)})
        yield client, GroupedReads(client, seconds)
    finally:
        await client.aclose()


def keys(settings: Settings, *names: object) -> list[bytes]:
    return [f"{settings.redis.prefix}{name}".encode() for name in names]


async def questions(client: Any) -> int:
    return int((await client.info("commandstats"))["cmdstat_mget"]["calls"])


def test_reads_that_came_together_are_one_question_and_each_gets_its_own_values_in_order(live: Settings) -> None:
    async def ask() -> tuple[list[list[bytes | None]], int]:
        async with reading(live) as (client, reads):
            await reads.values(keys(live, 0))
            before = await questions(client)
            asked = [reads.values(keys(live, number, "absent", "common", (number + 1) % 50)) for number in range(50)]
            await client.set(f"{live.redis.prefix}common", "c")
            return await asyncio.gather(*asked), await questions(client) - before

    found, asked = asyncio.run(ask())

    assert found == [
        [f"value {number}".encode(), None, b"c", f"value {(number + 1) % 50}".encode()] for number in range(50)
    ]
    assert asked == 1


def test_a_read_after_an_answer_is_a_new_question_and_sees_what_was_written_since(live: Settings) -> None:
    async def ask() -> list[bytes | None]:
        async with reading(live) as (client, reads):
            (before,) = await reads.values(keys(live, 1))
            await client.set(f"{live.redis.prefix}1", "new")
            (after,) = await reads.values(keys(live, 1))
            return [before, after]

    assert asyncio.run(ask()) == [b"value 1", b"new"]


def test_a_client_that_goes_away_takes_nobody_elses_answer_with_it(live: Settings) -> None:
    async def ask() -> tuple[list[bytes | None], bool]:
        async with reading(live) as (_, reads):
            gone = asyncio.create_task(reads.values(keys(live, 2)))
            other = asyncio.create_task(reads.values(keys(live, 3)))
            await asyncio.sleep(0)
            gone.cancel()
            return await other, gone.cancelled()

    assert asyncio.run(ask()) == ([b"value 3"], True)


def test_a_server_that_does_not_answer_in_time_fails_all_reads_of_the_group_and_the_next_works(live: Settings) -> None:
    async def ask() -> tuple[list[Any], list[bytes | None]]:
        async with reading(live, seconds=0.2) as (client, reads):
            await client.execute_command("CLIENT", "PAUSE", "1000", "ALL")
            asked = [reads.values(keys(live, number)) for number in (4, 5)]
            failed = await asyncio.gather(*asked, return_exceptions=True)
            await asyncio.sleep(1.0)
            return failed, await reads.values(keys(live, 6))

    failed, found = asyncio.run(ask())

    assert [type(one) for one in failed] == [TimeoutError, TimeoutError]
    assert found == [b"value 6"]


def test_a_server_that_is_not_there_fails_all_reads_of_the_group(live: Settings) -> None:
    async def ask() -> list[Any]:
        nobody = redis.asyncio.Redis(host="127.0.0.1", port=1)
        reads = GroupedReads(nobody, 5.0)
        return await asyncio.gather(*[reads.values(keys(live, 7)) for _ in range(3)], return_exceptions=True)

    assert [isinstance(one, OSError | redis.RedisError) for one in asyncio.run(ask())] == [True] * 3
