"""When everything that was sent has its fate."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from afterclick.connectors.checkpoints import committed_offsets, end_offsets, has_settled
from afterclick.errors import LocalStackError
from afterclick.local import services
from afterclick.settings import Settings


async def wait_until_drained(
    settings: Settings, running: list[services.Service], queries: Sequence[str], *, seconds: float = 300.0
) -> None:
    """Wait until `queries` have committed every message, and sessions that the last ones close are written.

    Raises
    ------
    LocalStackError
        If a service ends, or not all is committed within `seconds`.
    """
    topic, servers = settings.kafka.events_topic, settings.kafka.bootstrap_servers
    end = end_offsets(servers, topic)
    folders = [Path(settings.storage.checkpoints) / name for name in queries]
    deadline = time.monotonic() + seconds
    while not all(committed_offsets(folder, topic) == end and has_settled(folder) for folder in folders):
        for service in running:
            service.check()
        if time.monotonic() > deadline:
            reached = {folder.name: committed_offsets(folder, topic) for folder in folders}
            message = f"the streams did not reach {end} within {seconds:.0f} s: {reached}; see {running[-1].log}"
            raise LocalStackError(message)
        await asyncio.sleep(0.25)
