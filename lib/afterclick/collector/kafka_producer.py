"""librdkafka's producer with the collector's guarantees, and the thread that serves its delivery reports.

What counts events and answers requests is `event_sink` (docs/decisions/0053-librdkafka.md).
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from afterclick.errors import SettingsError, StoreUnavailableError
from afterclick.kafka_security import librdkafka_options
from afterclick.setting_sections import CollectorSettings, KafkaSettings

logger = logging.getLogger(__name__)

DeliveryReport = Callable[[KafkaError | None, Message], None]
_POLL_SECONDS = 0.1
_FOR_EVER = 0
_REFUSALS = (KafkaException, TypeError, ValueError)
_UNBOUNDED_KBYTES = 2**31 - 1
_ALIASES = {
    "metadata.broker.list": "bootstrap.servers",
    "sasl.mechanisms": "sasl.mechanism",
    "request.required.acks": "acks",
    "delivery.timeout.ms": "message.timeout.ms",
}
"""Other names that librdkafka has for what is fixed."""


class DurableProducer:
    """An idempotent producer with ``acks=all`` that never gives up a message by itself.

    Notes
    -----
    A fatal error (the broker has lost what it had confirmed to this producer) ends a producer of librdkafka: another one
    takes its place, and what the first one had is reported as failed.

    Raises
    ------
    SettingsError
        If librdkafka does not know an option or its value.
    """

    def __init__(self, kafka: KafkaSettings, collector: CollectorSettings) -> None:
        self._kafka = kafka
        self._options = _all_options(kafka, collector)
        self._last_error: KafkaError | None = None
        self._producer = self._open()
        self._ended = threading.Event()
        self._poller = threading.Thread(target=self._serve_reports, name="kafka-reports", daemon=True)
        self._poller.start()

    def produce(self, topic: str, value: bytes, key: bytes | None, report: DeliveryReport) -> None:
        """Queue one message; `report` is called in another thread, once.

        Raises
        ------
        BufferError
            If the queue is full.
        KafkaException
            If it cannot be sent at all.
        """
        self._producer.produce(topic, value, key, on_delivery=report)

    def await_broker(self, topic: str, seconds: float) -> None:
        """Return when a broker has answered, be it that there is no such topic.

        Raises
        ------
        StoreUnavailableError
            If none does in time.
        """
        try:
            self._producer.list_topics(topic, timeout=seconds)
        except KafkaException as error:
            message = (
                f"no Kafka broker answers at {self._kafka.bootstrap_servers}: {self._last_error or error}. "
                "Is it up (`afterclick up`), and are the user, the password and the protocol of section kafka its own?"
            )
            raise StoreUnavailableError(message) from error

    def close(self, seconds: float) -> int:
        """Deliver what waits, end, and return how many messages were not delivered in time."""
        self._ended.set()
        self._poller.join()
        with suppress(KafkaException):  # fatal: nothing more is delivered
            self._producer.flush(seconds)
        return len(self._producer)

    def _open(self) -> Producer:
        try:
            return Producer(self._options | {"error_cb": self._note}, logger=logger)
        except _REFUSALS as error:
            raise _refused(self._kafka, error) from error

    def _note(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - follows from another, which says why
            self._last_error = error  # librdkafka logs it as well

    def _serve_reports(self) -> None:
        while not self._ended.is_set():
            try:
                self._producer.poll(_POLL_SECONDS)
            except KafkaException as error:  # fatal: no other error is raised here
                logger.error("producer ended by a fatal error, another one goes on error=%s", error)  # noqa: TRY400
                self._replace()

    def _replace(self) -> None:
        spent, self._producer = self._producer, self._open()
        spent.purge()
        while len(spent) and not self._ended.is_set():  # until the reports of what was purged are served
            with suppress(KafkaException):
                spent.flush(_POLL_SECONDS)


def _all_options(kafka: KafkaSettings, collector: CollectorSettings) -> dict[str, Any]:
    fixed = _fixed_options(kafka, collector)
    for name, value in kafka.options.items():
        if _ALIASES.get(name, name) in fixed:
            message = (
                f"kafka.options {name!r} = {value!r} is not possible: the collector sets it itself, from its section or "
                "because its promises hang on it. Take it away."
            )
            raise SettingsError(message)
    return _changeable_options(collector) | kafka.options | fixed


def _changeable_options(collector: CollectorSettings) -> dict[str, Any]:
    """Return what ``kafka.options`` may say otherwise."""
    half_ms = max(1000, int(collector.delivery_timeout_seconds * 500))
    return {
        "linger.ms": 0,  # a request's events are a batch anyway; librdkafka's 5 ms would be added to each answer
        "reconnect.backoff.max.ms": 1000,
        "request.timeout.ms": half_ms,
        "socket.timeout.ms": half_ms,
    }


def _fixed_options(kafka: KafkaSettings, collector: CollectorSettings) -> dict[str, Any]:
    return {
        **librdkafka_options(kafka),
        "acks": "all",
        "enable.idempotence": True,
        "allow.auto.create.topics": False,
        "partitioner": "murmur2_random",  # Kafka's own: a person's events stay where other clients put them
        "message.timeout.ms": _FOR_EVER,
        "message.max.bytes": 2 * collector.max_batch_bytes,
        # `event_sink` bounds what waits; a place is free here a little later than there.
        "queue.buffering.max.messages": 2 * collector.max_in_flight,
        "queue.buffering.max.kbytes": _UNBOUNDED_KBYTES,
    }


def _refused(kafka: KafkaSettings, reason: object) -> SettingsError:
    wrong = {name: value for name, value in kafka.options.items() if not _is_known(name, value)}
    told = [f"kafka.options {name!r} = {value!r}" for name, value in (wrong or kafka.options).items()]
    message = (
        f"{' and '.join(told) or 'section kafka'} is not possible for the collector's producer: {reason} It takes the "
        "options of librdkafka (see its CONFIGURATION.md). Give one that only Spark knows to the streams alone, by the "
        "variable AFTERCLICK_KAFKA__OPTIONS of their processes, or take it away."
    )
    return SettingsError(message)


def _is_known(name: str, value: str) -> bool:
    try:
        Producer({"enable.idempotence": True, name: value})
    except _REFUSALS:
        return False
    return True
