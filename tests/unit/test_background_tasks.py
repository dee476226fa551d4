"""Work beside requests ends with the service, even where a library forgets a cancellation."""

import asyncio
from contextlib import suppress

import pytest

from afterclick.background_tasks import in_background


def test_work_that_forgets_a_cancellation_is_ended_all_the_same() -> None:
    forgotten: list[int] = []
    ended: list[int] = []

    async def forgetful() -> None:
        try:
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    if forgotten:
                        raise
                    forgotten.append(1)
        finally:
            ended.append(1)

    async def serve() -> None:
        async with in_background(forgetful()):
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(serve(), 10))

    assert (forgotten, ended) == ([1], [1])


def test_work_ends_when_the_block_fails_and_the_failure_is_told() -> None:
    ended: list[int] = []

    async def endless() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        ended.append(1)

    async def serve() -> None:
        async with in_background(endless(), endless()):
            await asyncio.sleep(0)
            raise KeyError("block")

    with pytest.raises(KeyError, match="block"):
        asyncio.run(asyncio.wait_for(serve(), 10))
    assert ended == [1, 1]
