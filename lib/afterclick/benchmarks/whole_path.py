"""The whole path on real parts, started for a benchmark: history, model, collector, API, the three streams, a client."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import httpx

from afterclick.local import complete_journey, demo, services
from afterclick.local.sender import LIMITS, Message, SendCounts, send
from afterclick.local.simulator import Basket
from afterclick.settings import Settings

WARM_UP_SECONDS = 120
"""Sent first and not measured: code is compiled, and the bulk queries catch up with what came meanwhile."""
POLL_SECONDS = 0.01
PROBED = 0.1
"""Share of posts whose way to the API is measured, one at a time."""
POST_SIZE = 10
"""Events in one post."""


@dataclass(frozen=True)
class RunningPath:
    """What runs, and the baskets that nobody has sent yet."""

    baskets: Iterator[Basket]
    running: list[services.Service]

    def log(self, name: str) -> str:
        """Return what a service has logged so far."""
        service = next(service for service in self.running if service.name == name)
        return service.log.read_text("utf-8", errors="replace")


@contextmanager
def running_path(
    settings: Settings,
    announce: demo.Announce,
    *,
    households: int | None = None,
    bulk_variables: Mapping[str, str] | None = None,
) -> Iterator[RunningPath]:
    """Import history, train, start everything; all of it has ended on leaving.

    Parameters
    ----------
    households
        How many have a history and go on; None: all.
    bulk_variables
        Settings of sessions and ingest, as variables.
    """
    announce("reading Complete Journey (simulated transactions of households)")
    lines = complete_journey.read_lines(households)
    with demo.demo_session(settings) as spark:
        baskets, _ = demo.prepare(spark, settings, lines, announce)
    running: list[services.Service] = []
    with services.stopping(running):
        announce("starting collector, API and the three streams")
        demo.start_services(settings, running, bulk_variables=bulk_variables)
        yield RunningPath(baskets, running)


@dataclass(frozen=True)
class Clients:
    """A sender at the collector and a reader at the API."""

    to_collector: httpx.AsyncClient
    to_api: httpx.AsyncClient
    write_key: str
    counts: SendCounts = field(default_factory=SendCounts)

    async def send(
        self,
        messages: Iterable[Message],
        *,
        rate: float,
        on_acked: Callable[[Sequence[Message], float], None] | None = None,
    ) -> None:
        """Post messages in order at `rate` a second (`sender.send`)."""
        await send(
            messages,
            self.to_collector,
            self.write_key,
            rate=rate,
            counts=self.counts,
            batch_size=POST_SIZE,
            on_acked=on_acked,
        )


@asynccontextmanager
async def open_clients(settings: Settings) -> AsyncIterator[Clients]:
    """Open connections to the collector and the API of the settings."""
    async with (
        httpx.AsyncClient(base_url=settings.collector.base_url, timeout=120.0, limits=LIMITS) as to_collector,
        httpx.AsyncClient(base_url=settings.serving.base_url, timeout=60.0, limits=LIMITS) as to_api,
    ):
        yield Clients(to_collector, to_api, settings.collector.write_keys[0].get_secret_value())
