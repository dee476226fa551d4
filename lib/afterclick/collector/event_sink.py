"""Where events go: Kafka, with a delivery report for each."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError

from afterclick.collector.messages import Event
from afterclick.crash_points import CrashPoint, crash_at
from afterclick.errors import StoreUnavailableError
from afterclick.kafka_security import client_options
from afterclick.setting_sections import CollectorSettings, KafkaSettings

logger = logging.getLogger(__name__)
_NEVER_MS = 2**31 - 1


class OverloadedError(StoreUnavailableError):
    """Raised when too many events wait for their delivery report; the client should come back later."""


class EventSink(Protocol):
    """A place for events."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when every event is durable.

        Raises
        ------
        OverloadedError
            If too many wait already.
        StoreUnavailableError
            If one could not be delivered in time.
        """

    def is_ready(self) -> bool:
        """Tell whether events can be delivered now."""

    def close(self) -> None:
        """Deliver what waits and end."""


class KafkaSink:
    """An idempotent producer with ``acks=all``; a message's key is its subject, so a person's events keep their order.

    Notes
    -----
    The producer tries for ever: in kafka-python 3.0.12 a batch that expires after a retry takes the producer's id with
    it, and none is asked for again, so the producer would stay mute after an outage. The client is told 503 in time
    and comes again; what it was told so for may still arrive, and is then a duplicate. Until its report is in, it
    counts as waiting, so that an outage fills no more memory than ``max_in_flight`` events.

    Raises
    ------
    StoreUnavailableError
        If no broker answers at the start.
    """

    def __init__(
        self, kafka: KafkaSettings, collector: CollectorSettings, crash_point: CrashPoint | None = None
    ) -> None:
        self._crash_point = crash_point
        self._topic = kafka.events_topic
        self._settings = collector
        self._waiting = 0
        self._addresses = kafka.bootstrap_servers.split(",")
        timeout_ms = int(collector.delivery_timeout_seconds * 1000)
        try:
            self._producer = KafkaProducer(
                **client_options(kafka),
                acks="all",
                enable_idempotence=True,
                allow_auto_create_topics=False,
                delivery_timeout_ms=_NEVER_MS,
                reconnect_backoff_max_ms=1000,
                request_timeout_ms=timeout_ms // 2,
                max_block_ms=timeout_ms,
                max_request_size=2 * collector.max_batch_bytes,
                **{name.replace(".", "_"): value for name, value in kafka.options.items()},
            )
        except KafkaError as error:
            message = f"no Kafka broker answers at {kafka.bootstrap_servers}: {error!r}. Is it up (`afterclick up`)?"
            raise StoreUnavailableError(message) from error
        # send() blocks while the topic's metadata is unknown: not in the event loop.
        self._sender = ThreadPoolExecutor(1, "kafka-send")

    async def publish(self, events: Sequence[Event]) -> None:
        """Send and wait for all delivery reports; see `EventSink`."""
        if not events:
            return
        if self._waiting + len(events) > self._settings.max_in_flight:
            message = f"{self._waiting} events wait for Kafka, at most {self._settings.max_in_flight} may"
            raise OverloadedError(message)
        self._waiting += len(events)
        loop = asyncio.get_running_loop()
        reports = _Reports(len(events), loop, self._release)
        try:
            sending = loop.run_in_executor(self._sender, self._send, events, reports)
            async with asyncio.timeout(self._settings.delivery_timeout_seconds):
                await asyncio.shield(sending)
                error = await reports.delivered
            if error:
                raise error
        except (KafkaError, TimeoutError) as error:
            message = f"Kafka did not confirm {len(events)} events: {error!r}"
            raise StoreUnavailableError(message) from error

    def _release(self, count: int) -> None:
        self._waiting -= count

    def is_ready(self) -> bool:
        """Tell whether a broker accepts connections."""
        return any(map(_accepts_connections, self._addresses))

    def close(self) -> None:
        """Deliver what waits and end; during an outage the clients of what is left were told 503."""
        self._sender.shutdown()
        try:
            self._producer.close(timeout=self._settings.delivery_timeout_seconds)
        except KafkaError:  # its thread is a daemon and ends with the process
            logger.warning("ended with events undelivered and unacknowledged count=%d", self._waiting)

    def _send(self, events: Sequence[Event], reports: "_Reports") -> None:
        for number, event in enumerate(events):
            try:
                future = self._producer.send(self._topic, value=event.value, key=event.key)
            except KafkaError as error:
                reports.fail(error, len(events) - number)
                return
            if self._crash_point is CrashPoint.PRODUCED:
                future.add_callback(lambda _: crash_at(CrashPoint.PRODUCED, self._crash_point))
            future.add_callback(reports.add)
            future.add_errback(reports.fail)


def _accepts_connections(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1.0):
            return True
    except (OSError, ValueError):
        return False


class _Reports:
    """Counts delivery reports in the producer's thread and wakes the event loop once, when all are in."""

    def __init__(self, expected: int, loop: asyncio.AbstractEventLoop, release: Callable[[int], None]) -> None:
        self.delivered: asyncio.Future[BaseException | None] = loop.create_future()
        self._events = self._missing = expected
        self._loop = loop
        self._release = release
        self._error: BaseException | None = None
        self._lock = threading.Lock()  # failures may come from the sending thread

    def add(self, _: Any) -> None:
        self._count(1)

    def fail(self, error: BaseException, count: int = 1) -> None:
        self._error = error
        self._count(count)

    def _count(self, count: int) -> None:
        with self._lock:
            self._missing -= count
            all_in = self._missing == 0
        if all_in:
            with suppress(RuntimeError):  # the event loop has ended: nobody waits
                self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._release(self._events)
        if not self.delivered.done():
            self.delivered.set_result(self._error)
