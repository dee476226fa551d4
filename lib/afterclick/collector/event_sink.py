"""Where events go: Kafka, with a delivery report for each."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message

from afterclick.collector.kafka_producer import DurableProducer
from afterclick.collector.messages import Event
from afterclick.crash_points import CrashPoint, crash_at
from afterclick.errors import StoreUnavailableError
from afterclick.setting_sections import CollectorSettings, KafkaSettings

logger = logging.getLogger(__name__)
_SHORTEST_SECONDS = 1.0


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
    """Sends to Kafka; a message's key is its subject, so a person's events keep their order.

    Notes
    -----
    The producer tries for ever. The client is told 503 in time and comes again; what it was told so for may still
    arrive, and is then a duplicate. Until its report is in, it counts as waiting, so that an outage fills no more memory
    than ``max_in_flight`` events.

    Raises
    ------
    StoreUnavailableError
        If no broker answers at the start.
    SettingsError
        If the section ``kafka`` cannot be used.
    """

    def __init__(
        self, kafka: KafkaSettings, collector: CollectorSettings, crash_point: CrashPoint | None = None
    ) -> None:
        self._crash_point = crash_point
        self._topic = kafka.events_topic
        self._settings = collector
        self._waiting = 0
        self._addresses = kafka.bootstrap_servers.split(",")
        self._producer = DurableProducer(kafka, collector)
        try:
            self._await_broker()
        except StoreUnavailableError:
            self._producer.close(0)
            raise

    def _await_broker(self) -> None:
        seconds = self._settings.delivery_timeout_seconds if self.is_ready() else _SHORTEST_SECONDS
        self._producer.await_broker(self._topic, seconds)

    async def publish(self, events: Sequence[Event]) -> None:
        """Send and wait for all delivery reports; see `EventSink`."""
        if not events:
            return
        if self._waiting + len(events) > self._settings.max_in_flight:
            message = f"{self._waiting} events wait for Kafka, at most {self._settings.max_in_flight} may"
            raise OverloadedError(message)
        self._waiting += len(events)
        reports = _Reports(len(events), asyncio.get_running_loop(), self._release, self._crash_point)
        self._send(events, reports)
        try:
            async with asyncio.timeout(self._settings.delivery_timeout_seconds):
                failure = await reports.delivered
        except TimeoutError as error:
            message = f"Kafka did not confirm {len(events)} events within {self._settings.delivery_timeout_seconds:g} s"
            raise StoreUnavailableError(message) from error
        if failure:
            raise failure

    def _release(self, count: int) -> None:
        self._waiting -= count

    def is_ready(self) -> bool:
        """Tell whether a broker accepts connections."""
        return any(map(_accepts_connections, self._addresses))

    def close(self) -> None:
        """Deliver what waits and end; during an outage the clients of what is left were told 503."""
        if undelivered := self._producer.close(self._settings.delivery_timeout_seconds):
            logger.warning("ended with events undelivered and unacknowledged count=%d", undelivered)

    def _send(self, events: Sequence[Event], reports: "_Reports") -> None:
        produce, topic, report = self._producer.produce, self._topic, reports.add
        for number, event in enumerate(events):
            try:
                produce(topic, event.value, event.key, report)
            except BufferError:
                reports.fail(OverloadedError("the queue for Kafka is full"), len(events) - number)
                return
            except KafkaException as error:
                reports.fail(_unconfirmed(error), len(events) - number)
                return


def _unconfirmed(error: object) -> StoreUnavailableError:
    return StoreUnavailableError(f"Kafka did not confirm an event: {error}")


def _accepts_connections(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1.0):
            return True
    except (OSError, ValueError):
        return False


class _Reports:
    """Counts delivery reports in the producer's thread and wakes the event loop once, when all are in."""

    def __init__(
        self,
        expected: int,
        loop: asyncio.AbstractEventLoop,
        release: Callable[[int], None],
        crash_point: CrashPoint | None,
    ) -> None:
        self.delivered: asyncio.Future[StoreUnavailableError | None] = loop.create_future()
        self._events = self._missing = expected
        self._loop = loop
        self._release = release
        self._crash_point = crash_point
        self._failure: StoreUnavailableError | None = None
        self._lock = threading.Lock()  # failures may come from the sending thread

    def add(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self.fail(_unconfirmed(error), 1)
            return
        crash_at(CrashPoint.PRODUCED, self._crash_point)
        self._count(1)

    def fail(self, failure: StoreUnavailableError, count: int) -> None:
        self._failure = failure
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
            self.delivered.set_result(self._failure)
