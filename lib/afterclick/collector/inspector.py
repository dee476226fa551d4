"""What arrived lately, for a site's own tests; on one machine only, in memory only (as Snowplow Micro)."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import FastAPI

from afterclick.collector.messages import Event

_KEPT = 1000
_SHOWN_BYTES = 2048


class Inspector:
    """The last thousand good events and the last thousand bad messages."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._good: deque[bytes] = deque(maxlen=_KEPT)
        self._bad: deque[dict[str, str]] = deque(maxlen=_KEPT)
        self._counts = {"good": 0, "bad": 0, "no_consent": 0}

    def note_good(self, events: Sequence[Event], *, without_consent: int) -> None:
        """Remember events as they go to Kafka."""
        self._good.extend(event.value for event in events)
        self._counts["good"] += len(events)
        self._counts["no_consent"] += without_consent

    def note_bad(self, raw: bytes, reason: str, told: str) -> None:
        """Remember a refused message and why."""
        shown = raw[:_SHOWN_BYTES].decode("utf-8", "replace")
        self._bad.append({"reason": reason, "message": told, "sent": shown})
        self._counts["bad"] += 1

    def good(self) -> list[dict[str, Any]]:
        """Return the events, the oldest first."""
        return [msgspec.json.decode(value) for value in self._good]

    def bad(self) -> list[dict[str, str]]:
        """Return the refused messages, the oldest first."""
        return list(self._bad)

    def counts(self) -> dict[str, int]:
        """Return how many there were since the last reset."""
        return dict(self._counts)


def add_inspector(app: FastAPI, inspector: Inspector) -> None:
    """Add the routes under ``/_inspect``."""

    @app.get("/_inspect/all", summary="How many good, bad and without consent", tags=["inspector"])
    async def counts() -> dict[str, int]:
        return inspector.counts()

    @app.get("/_inspect/good", summary="Events as they went to Kafka", tags=["inspector"])
    async def good() -> list[dict[str, Any]]:
        return inspector.good()

    @app.get("/_inspect/bad", summary="Refused messages and why", tags=["inspector"])
    async def bad() -> list[dict[str, str]]:
        return inspector.bad()

    @app.post("/_inspect/reset", summary="Forget everything", tags=["inspector"])
    async def reset() -> dict[str, int]:
        inspector.reset()
        return inspector.counts()
