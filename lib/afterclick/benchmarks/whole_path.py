"""The whole path on real parts, started for a benchmark: history, model, collector, API, the three streams, a client."""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from afterclick.benchmarks import nights
from afterclick.benchmarks.people import serve_model
from afterclick.local import complete_journey, demo, services
from afterclick.local.sender import LIMITS, Message, SendCounts, send
from afterclick.local.simulator import Basket
from afterclick.local.stack import stack_status
from afterclick.settings import Settings

WARM_UP_SECONDS = 120
"""Sent first and not measured: code is compiled, and the bulk queries catch up with what came meanwhile."""
_QUICK_WARM_UP_SECONDS = 10
_QUICK_BULK_TRIGGER_SECONDS = 5
_QUICK_HOUSEHOLDS = 300
POLL_SECONDS = 0.01
PROBED = 0.1
"""Share of posts whose way to the API is measured, one at a time."""
CLIENT = "client"
POST_SIZE = 10
"""Events in one post."""


@dataclass(frozen=True)
class Pace:
    """How much is sent, in events a second, and for how long it is measured; `is_quick` only shows that it runs."""

    rate: float
    seconds: float
    is_quick: bool = False

    @property
    def warm_up(self) -> float:
        """Return the seconds sent first and not measured."""
        return _QUICK_WARM_UP_SECONDS if self.is_quick else WARM_UP_SECONDS


def hurried(settings: Settings, pace: Pace) -> Settings:
    """Return the settings, for a quick look with bulk batches so often that nothing waits half a minute for them."""
    if not pace.is_quick:
        return settings
    streams = settings.streams.model_copy(update={"bulk_trigger_seconds": _QUICK_BULK_TRIGGER_SECONDS})
    return settings.model_copy(update={"streams": streams})


@dataclass(frozen=True)
class RunningPath:
    """What runs, and the baskets that nobody has sent yet."""

    baskets: Iterator[Basket]
    running: list[services.Service]

    def log(self, name: str) -> str:
        """Return what a service has logged so far."""
        service = next(service for service in self.running if service.name == name)
        return service.log.read_text("utf-8", errors="replace")

    def pids(self, settings: Settings) -> dict[str, int]:
        """Return the process of each service, of the servers and of this client."""
        servers = {name: pid for name, pid in stack_status(settings.state_dir).items() if pid}
        return {**{one.name: one.process.pid for one in self.running}, **servers, CLIENT: os.getpid()}


@contextmanager
def running_path(
    settings: Settings,
    announce: demo.Announce,
    *,
    households: int | None = None,
    bulk_variables: Mapping[str, str] | None = None,
    is_quick: bool = False,
    with_candidate: bool = False,
) -> Iterator[RunningPath]:
    """Import history, train, start everything; all of it has ended on leaving.

    Parameters
    ----------
    households
        How many have a history and go on; None: all.
    bulk_variables
        Settings of sessions and ingest, as variables.
    is_quick
        Without history and training, which take minutes: a model of random factors is served. Everything is killed in the end.
    with_candidate
        Train a second version as well, for `nights.serve_candidate`; not of a quick look.
    """
    announce("reading Complete Journey (simulated transactions of households)")
    if is_quick:
        lines = complete_journey.read_lines(_QUICK_HOUSEHOLDS)
        serve_model(settings, item_ids=sorted(lines["item_id"].unique()))
        baskets = complete_journey.replay_baskets(lines)
    else:
        lines = complete_journey.read_lines(households)
        with demo.demo_session(settings) as spark:
            baskets, _ = demo.prepare(spark, settings, lines, announce)
            if with_candidate:
                announce("training a second version, to switch to")
                nights.make_candidate(spark, settings)
    running: list[services.Service] = []
    with services.stopping(running, by_force=is_quick):
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


def stamped(messages: Iterable[Message]) -> Iterator[Message]:
    """Yield messages as if each happened when it is taken to be sent."""
    for message in messages:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        yield {**message, "originalTimestamp": now}


@asynccontextmanager
async def open_clients(settings: Settings, *, counts: SendCounts | None = None) -> AsyncIterator[Clients]:
    """Open connections to the collector and the API of the settings; `counts` take what is answered."""
    async with (
        httpx.AsyncClient(base_url=settings.collector.base_url, timeout=120.0, limits=LIMITS) as to_collector,
        httpx.AsyncClient(base_url=settings.serving.base_url, timeout=60.0, limits=LIMITS) as to_api,
    ):
        key = settings.collector.write_keys[0].get_secret_value()
        yield Clients(to_collector, to_api, key, counts or SendCounts())
