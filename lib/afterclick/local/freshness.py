"""How long until an answer covers an event: client post -> API answer whose `fresh_as_of` covers it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import numpy as np


@dataclass
class FreshnessProbe:
    """Measures single people while the stream runs; all times in seconds since the epoch.

    Parameters
    ----------
    api
        Its ``base_url`` is the recommendation API's.
    poll_seconds
        Time between two looks; the figure is at most this much too long.
    """

    api: httpx.AsyncClient
    poll_seconds: float = 0.02
    limit_seconds: float = 60.0
    samples: list[dict[str, float]] = field(default_factory=list)
    missed: int = 0
    first_covered_at: float | None = None
    active: int = 0

    async def measure(self, user_id: str, posted_at: float, acked_at: float) -> None:
        """Poll one person's list until it covers what was posted at `posted_at`."""
        self.active += 1
        try:
            await self._poll(user_id, posted_at, acked_at)
        finally:
            self.active -= 1

    async def _poll(self, user_id: str, posted_at: float, acked_at: float) -> None:
        while time.time() - posted_at < self.limit_seconds:
            answer = (await self.api.get(f"/v1/recommendations/{user_id}", params={"n": 20})).json()
            now = time.time()
            if read_epoch(answer["fresh_as_of"]) >= posted_at - 0.001 and answer["source"] != "popular":
                self._add(posted_at, acked_at, read_epoch(answer["generated_at"]), now)
                return
            await asyncio.sleep(self.poll_seconds)
        self.missed += 1

    def _add(self, posted_at: float, acked_at: float, generated_at: float, seen_at: float) -> None:
        self.first_covered_at = self.first_covered_at or seen_at
        self.samples.append(
            {
                "total": seen_at - posted_at,
                "posted_at": posted_at,
                "acked_at": acked_at,
                "generated_at": generated_at,
                "seen_at": seen_at,
            }
        )


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds; empty without samples."""
    if not seconds:
        return {}
    return {f"p{q}": round(float(np.percentile(seconds, q)) * 1000, 1) for q in (50, 95, 99)}


def read_epoch(text: str | None) -> float:
    """Return the time of an answer in seconds since the epoch; 0 where it has none."""
    if not text:
        return 0.0
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC).timestamp()
