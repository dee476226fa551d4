"""Items that nobody may get, as a set in Redis; every API process follows within seconds."""

from collections.abc import Sequence
from typing import Any

import redis
from redis import RedisError

from afterclick.errors import StoreUnavailableError
from afterclick.setting_sections import RedisSettings


def withdrawn_key(prefix: str) -> bytes:
    """Return the key of the set."""
    return f"{prefix}withdrawn".encode()


class WithdrawnItems:
    """The set.

    Every method raises `StoreUnavailableError` when Redis cannot be reached or refuses.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._key = withdrawn_key(settings.prefix)
        self._client = redis.Redis.from_url(settings.url.get_secret_value(), socket_timeout=5, protocol=2)

    def withdraw(self, item_ids: Sequence[str]) -> None:
        """Keep items out of every answer; the API follows within ``serving.popular_refresh_seconds``."""
        self._ask("sadd", *item_ids)

    def restore(self, item_ids: Sequence[str]) -> None:
        """Let items be listed again."""
        self._ask("srem", *item_ids)

    def read(self) -> list[str]:
        """Return the withdrawn items, sorted."""
        return sorted(member.decode() for member in self._ask("smembers"))

    def _ask(self, command: str, *item_ids: str) -> Any:
        try:
            return getattr(self._client, command)(self._key, *item_ids)
        except RedisError as error:
            message = f"withdrawn items could not be read or changed: {error}. See docs/operations.md, 'Redis is down'."
            raise StoreUnavailableError(message) from error
