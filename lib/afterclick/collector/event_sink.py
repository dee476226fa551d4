"""Where events go: Kafka, with a delivery report for each."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError

from afterclick.collector.messages import Event
from afterclick.crash_points import CrashPoint, crash_at
from afterclick.errors import StoreUnavailableError
from afterclick.kafka_security import client_options
from afterclick.setting_sections import CollectorSettings, KafkaSettings

logger = logging.getLogger(__name__)


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
                delivery_timeout_ms=timeout_ms,
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
        try:
            loop = asyncio.get_running_loop()
            delivered = loop.create_future()
            await loop.run_in_executor(self._sender, self._send, events, _Reports(len(events), loop, delivered))
            await asyncio.wait_for(delivered, self._settings.delivery_timeout_seconds)
        except (KafkaError, TimeoutError) as error:
            message = f"Kafka did not confirm {len(events)} events: {error!r}"
            raise StoreUnavailableError(message) from error
        finally:
            self._waiting -= len(events)

    def is_ready(self) -> bool:
        """Tell whether a broker accepts connections."""
        return any(map(_accepts_connections, self._addresses))

    def close(self) -> None:
        """Deliver what waits and end."""
        self._sender.shutdown()
        self._producer.close(timeout=self._settings.delivery_timeout_seconds)

    def _send(self, events: Sequence[Event], reports: "_Reports") -> None:
        for event in events:
            future = self._producer.send(self._topic, value=event.value, key=event.key)
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
    """Counts delivery reports in the producer's thread and wakes the event loop once."""

    def __init__(self, expected: int, loop: asyncio.AbstractEventLoop, delivered: "asyncio.Future[None]") -> None:
        self._expected = expected
        self._loop = loop
        self._delivered = delivered

    def add(self, _: Any) -> None:
        self._expected -= 1
        if self._expected == 0:
            self._wake(None)

    def fail(self, error: BaseException) -> None:
        self._wake(error)

    def _wake(self, error: BaseException | None) -> None:
        def settle() -> None:
            if self._delivered.done():
                return
            if error is None:
                self._delivered.set_result(None)
            else:
                self._delivered.set_exception(error)

        self._loop.call_soon_threadsafe(settle)
