"""Reads of many requests in one round trip to Redis: a busy server spends more on asking than on waiting."""

import asyncio
from collections.abc import Sequence
from typing import Any

import redis.asyncio


class GroupedReads:
    """Answers the reads that were asked for in one turn of the event loop by one MGET.

    Parameters
    ----------
    seconds
        After which the client gives up; all reads of the group then fail.

    Notes
    -----
    Nobody waits for others to come: a group is sent in the next turn, so a single read is sent at once. Under load the
    requests whose bytes came together ask together.
    """

    def __init__(self, client: redis.asyncio.Redis, seconds: float) -> None:
        self._client = client
        self._seconds = seconds
        self._keys: dict[bytes, None] = {}
        self._next: asyncio.Task[dict[bytes, bytes | None]] | None = None

    async def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of the keys, in their order.

        Raises
        ------
        RedisError, OSError, TimeoutError
            If Redis does not answer, or not in time.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read())  # begins when those who can run now have asked
        self._keys.update(dict.fromkeys(keys))
        value_of = await asyncio.shield(self._next)  # a client that goes away takes nobody's answer with it
        return [value_of[key] for key in keys]

    async def _read(self) -> dict[bytes, bytes | None]:
        keys, self._keys, self._next = [*self._keys], {}, None
        async with asyncio.timeout(self._seconds):
            values: Any = await self._client.mget(keys)
        return dict(zip(keys, values, strict=True))
