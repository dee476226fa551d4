"""Items that nobody may get: they stand in the subject store's database, and as a set in Redis that the API reads.

The database decides. The set is written anew where it differs, as after a wipe: with each change, by every collector
once a second (`withdrawals.keep_following`), and when the cache is rebuilt.
"""

from collections.abc import Sequence
from typing import Any

import redis
import sqlalchemy as sa
from redis import RedisError

from afterclick.connectors.subject_store import open_subject_store
from afterclick.connectors.subject_tables import WITHDRAWN_ITEMS
from afterclick.errors import StoreUnavailableError
from afterclick.settings import Settings

_ID = WITHDRAWN_ITEMS.c.item_id


def withdrawn_key(prefix: str) -> bytes:
    """Return the key of the set."""
    return f"{prefix}withdrawn".encode()


class WithdrawnItems:
    """The items.

    Every method raises `StoreUnavailableError` when the database or Redis cannot be reached or refuses.
    """

    def __init__(self, settings: Settings) -> None:
        self._store = open_subject_store(settings)
        self._key = withdrawn_key(settings.redis.prefix)
        self._client = redis.Redis.from_url(settings.redis.url.get_secret_value(), socket_timeout=5, protocol=2)

    def withdraw(self, item_ids: Sequence[str]) -> None:
        """Keep items out of every answer; the API follows within ``serving.popular_refresh_seconds``."""
        self._note(item_ids, is_withdrawn=True)
        self.publish()

    def restore(self, item_ids: Sequence[str]) -> None:
        """Let items be listed again."""
        self._note(item_ids, is_withdrawn=False)
        self.publish()

    def read(self) -> list[str]:
        """Return the withdrawn items, sorted."""
        return sorted(name for name, is_withdrawn in self._known().items() if is_withdrawn)

    def publish(self) -> bool:
        """Have the set in Redis hold what the database says; returns whether it did not.

        A database that was never told of any item takes over what the set holds: versions before had it only there.
        """
        known = self._known()
        try:
            members: Any = self._client.smembers(self._key)
            told = {member.decode() for member in members}
            if not known and told:
                self._note(sorted(told), is_withdrawn=True)
                return False
            withdrawn = {name for name, is_withdrawn in known.items() if is_withdrawn}
            if told == withdrawn:
                return False
            pipeline = self._client.pipeline(transaction=True)
            pipeline.delete(self._key)
            if withdrawn:
                pipeline.sadd(self._key, *withdrawn)
            pipeline.execute()
        except RedisError as error:
            message = (
                f"the API does not know yet which items are withdrawn: {error}. A collector tells it once Redis is back, "
                "or `afterclick rebuild-cache`; docs/operations.md, 'Redis is down'."
            )
            raise StoreUnavailableError(message) from error
        return True

    def _known(self) -> dict[str, bool]:
        with self._store.reading() as connection:
            rows = connection.execute(sa.select(_ID, WITHDRAWN_ITEMS.c.is_withdrawn)).all()
        return {row.item_id: row.is_withdrawn for row in rows}

    def _note(self, item_ids: Sequence[str], *, is_withdrawn: bool) -> None:
        now = self._store.now_ms()
        rows = [{"item_id": name, "is_withdrawn": is_withdrawn, "changed_ms": now} for name in dict.fromkeys(item_ids)]
        with self._store.writing() as connection:
            connection.execute(sa.delete(WITHDRAWN_ITEMS).where(_ID.in_([row["item_id"] for row in rows])))
            if rows:
                connection.execute(sa.insert(WITHDRAWN_ITEMS), rows)
