"""What a service does beside its requests, from its start to its end."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 0.2
_WORKED_SECONDS = 60.0
"""Endless work that failed after so long had done what it is for."""


@asynccontextmanager
async def in_background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless work while the block lasts, and end all of it after; work that fails before is logged.

    Notes
    -----
    Each task is cancelled until it has ended: ``asyncio.wait_for``, which redis-py sends by, forgets a cancellation that
    comes as its command is done (Python 3.11, https://github.com/python/cpython/issues/86296).
    """
    tasks = {asyncio.create_task(each) for each in work}
    for task in tasks:
        task.add_done_callback(_tell_failure)
    try:
        yield
    finally:
        running = tasks
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)


async def for_ever(work: Callable[[], Awaitable[None]], seconds: float, what: str) -> None:
    """Do some work again and again; an error is logged and ends nothing. The same one at once again is not logged.

    Parameters
    ----------
    what
        What the work is, for the log.
    """
    told = ""
    while True:
        begun = time.monotonic()
        try:
            await work()
        except Exception as error:
            if repr(error) != told or time.monotonic() - begun > _WORKED_SECONDS:
                logger.exception("%s failed and is tried again every %s s", what, seconds)
            told = repr(error)
        else:
            told = ""
        await asyncio.sleep(seconds)


def _tell_failure(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error:
        logger.error("work beside requests has ended: restart the service", exc_info=error)
