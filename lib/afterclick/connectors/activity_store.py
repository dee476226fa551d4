"""Recent activity in Redis: ``{prefix}a:{kind}:{name}`` is MessagePack of the counts by event type."""

from collections.abc import Sequence
from typing import Any

import msgspec
import redis

from afterclick.connectors.redis_store import open_client, translated
from afterclick.setting_sections import RedisSettings

Counts = dict[str, dict[str, float]]
"""By event type: `events_30m`, `events_2h`, `events_24h`, `events_decayed`."""
_PORTION = 5_000


class ActivityStore:
    """Commands on recent activity; each raises `StoreUnavailableError` when Redis cannot be reached or refuses."""

    def __init__(self, settings: RedisSettings, client: redis.Redis | None = None) -> None:
        self._client = client or open_client(settings)
        self._prefix = settings.prefix

    def write(self, kind: str, counts: dict[str, Counts], *, ttl_seconds: int) -> None:
        """Store the counts by name; what is not written again is gone after `ttl_seconds`."""
        entries = list(counts.items())
        for start in range(0, len(entries), _PORTION):
            pipeline = self._client.pipeline(transaction=False)
            for name, by_type in entries[start : start + _PORTION]:
                pipeline.set(activity_key(self._prefix, kind, name), msgspec.msgpack.encode(by_type), ex=ttl_seconds)
            with translated():
                pipeline.execute()

    def read(self, kind: str, names: Sequence[str]) -> list[Counts]:
        """Return the counts of each name; empty where there was nothing of late."""
        if not names:
            return []
        with translated():
            values: Any = self._client.mget([activity_key(self._prefix, kind, name) for name in names])
        return [decode_activity(value) for value in values]


def activity_key(prefix: str, kind: str, name: str) -> bytes:
    """Return the key of a person's, an item's or a category's recent activity."""
    return f"{prefix}a:{kind}:{name}".encode()


def decode_activity(value: bytes | None) -> Counts:
    """Return the counts of a stored value; empty where there is none."""
    return msgspec.msgpack.decode(value, type=Counts) if value else {}
