"""Work beside requests ends with the service, even where a library forgets a cancellation, and not before."""

import asyncio
from contextlib import suppress

import pytest

from afterclick.background_tasks import for_ever, in_background


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


def test_work_that_ends_by_an_error_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise KeyError("inside")

    async def serve() -> None:
        async with in_background(fails()):
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(serve(), 10))

    (told,) = caplog.records
    assert "has ended" in told.getMessage()
    assert told.exc_info
    assert isinstance(told.exc_info[1], KeyError)


def test_work_for_ever_outlives_its_errors_and_each_is_told_once_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = iter([KeyError("one"), KeyError("one"), ValueError("two"), None, ValueError("two")])
    rounds: list[int] = []

    async def work() -> None:
        rounds.append(1)
        if error := next(outcomes, None):
            raise error

    async def serve() -> None:
        async with in_background(for_ever(work, 0.001, "reading")):
            while len(rounds) < 7:
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(serve(), 10))

    told = [str(one.exc_info[1]) for one in caplog.records if one.exc_info]
    assert told == ["'one'", "two", "two"]
    assert "reading failed" in caplog.records[0].getMessage()
