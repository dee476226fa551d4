"""What a service does beside its requests, from its start to its end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

_AGAIN_SECONDS = 0.2


@asynccontextmanager
async def in_background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless work while the block lasts, and end all of it after.

    Notes
    -----
    Each task is cancelled until it has ended: ``asyncio.wait_for``, which redis-py sends by, forgets a cancellation that
    comes as its command is done (Python 3.11, https://github.com/python/cpython/issues/86296).
    """
    tasks = {asyncio.create_task(each) for each in work}
    try:
        yield
    finally:
        running = tasks
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
