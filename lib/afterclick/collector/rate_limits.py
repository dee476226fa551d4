"""How fast each key may send: a token bucket per key."""

from math import ceil

_BURST_SECONDS = 2.0


class RateLimits:
    """Buckets of this process; several collectors each allow the whole rate.

    Parameters
    ----------
    events_per_second
        For keys that have no rate of their own.
    """

    def __init__(self, events_per_second: float) -> None:
        self._default = events_per_second
        self._buckets: dict[str, tuple[float, float]] = {}

    def seconds_to_wait(self, key_id: str, events: int, rate: float | None, now: float) -> int:
        """Take `events` from the key's bucket and return 0, or whole seconds until it is worth coming back.

        A batch larger than the bucket is let through when the bucket is full, and leaves a debt.
        """
        rate = rate or self._default
        full = rate * _BURST_SECONDS
        tokens, since = self._buckets.get(key_id, (full, now))
        now = max(now, since)
        tokens = min(full, tokens + (now - since) * rate)
        is_allowed = tokens >= min(events, full)
        self._buckets[key_id] = (tokens - events if is_allowed else tokens, now)
        return 0 if is_allowed else max(1, ceil((min(events, full) - tokens) / rate))
