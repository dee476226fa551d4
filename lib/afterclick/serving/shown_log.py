"""What was shown, to Kafka: one message a list, sent in the background, so that no answer waits and none fails for it."""

import asyncio
import json
import logging
from collections import deque
from contextlib import suppress
from threading import Lock

from kafka import KafkaProducer
from kafka.errors import KafkaError

from afterclick.kafka_security import client_options
from afterclick.serving.answers import Recommendations
from afterclick.serving.metrics import Metrics
from afterclick.serving_settings import ServingSettings
from afterclick.setting_sections import KafkaSettings

logger = logging.getLogger(__name__)
_EVERY_SECONDS = 0.5
_BLOCK_MS = 2_000


class ShownLog:
    """Keeps lists until the next sending; beyond ``serving.shown_waiting`` the oldest are given up and counted."""

    def __init__(self, kafka: KafkaSettings, rules: ServingSettings, metrics: Metrics) -> None:
        self._kafka = kafka
        self._topic = rules.shown_topic
        self._size = rules.shown_waiting
        self._metrics = metrics
        self._waiting: deque[bytes] = deque()
        self._producer: KafkaProducer | None = None
        self._sending = Lock()  # a sending that began goes on in its thread when the API ends, and `close` sends too

    def add(self, answer: Recommendations, now_ms: int) -> None:
        """Note a list that is being shown."""
        with suppress(IndexError):  # the sender took the last one meanwhile: there is room
            while len(self._waiting) >= self._size:
                self._waiting.popleft()
                self._metrics.unlogged.inc()
        self._waiting.append(as_message(answer, now_ms))

    async def keep_sending(self) -> None:
        """Send what waits, for ever."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await asyncio.to_thread(self.send)

    def send(self) -> None:
        """Send what waits; while no broker answers it goes on waiting. One thread sends, another that comes waits."""
        with self._sending:
            try:
                while self._waiting:
                    self._producer = self._producer or KafkaProducer(
                        **client_options(self._kafka), acks=1, linger_ms=20, max_block_ms=_BLOCK_MS
                    )
                    self._send_oldest(self._producer)
            except KafkaError as error:
                logger.warning("lists shown are not logged now, %d wait: %r", len(self._waiting), error)

    def _send_oldest(self, producer: KafkaProducer) -> None:
        """Send one list, taken out before: `add` gives up the oldest that waits, which may not be the one on its way."""
        try:
            message = self._waiting.popleft()
        except IndexError:
            return
        try:
            producer.send(self._topic, message)
        except KafkaError:
            self._waiting.appendleft(message)
            raise

    def close(self) -> None:
        """Send what waits, and end."""
        self.send()
        if self._producer:
            self._producer.flush(timeout=_BLOCK_MS / 1000)
            self._producer.close(timeout=_BLOCK_MS / 1000)


def as_message(answer: Recommendations, now_ms: int) -> bytes:
    """Return the message of a list (`schemas_shown.SHOWN_MESSAGE`): nothing in it names the person."""
    items = [
        {"position": item.rank, "item_id": item.item_id, "reason": item.reason, "propensity": item.propensity or 1.0}
        for item in answer.items
    ]
    shown = {
        "list_id": answer.list_id,
        "shown_ms": now_ms,
        "placement": answer.placement,
        "bucket": answer.bucket,
        "source": answer.source,
        "model_version": answer.model_version,
        "items": items,
    }
    return json.dumps(shown, separators=(",", ":")).encode()
