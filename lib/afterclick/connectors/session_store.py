"""Open sessions in Redis: ``{prefix}s:{subject}`` is MessagePack of the person's latest `OpenSession`."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import redis

from afterclick.connectors.redis_store import open_client, translated
from afterclick.setting_sections import RedisSettings


class OpenSession(msgspec.Struct, frozen=True):
    """A visit that goes on, as of its newest event; times in milliseconds since the epoch."""

    session_id: str
    subject_id: str
    started_ms: int
    ended_ms: int
    event_count: int
    view_count: int
    cart_count: int
    removal_count: int
    purchase_count: int
    page_count: int
    item_count: int
    cart_value: float
    order_value: float
    entry_page: str | None = None
    campaign: str | None = None
    device: str | None = None


# KEYS: session. ARGV: id of a closed session. An open one that began meanwhile stays.
_CLOSE_SCRIPT = """
local value = redis.call('GET', KEYS[1])
if value and string.find(value, ARGV[1], 1, true) then redis.call('DEL', KEYS[1]) end
return 1
"""


class SessionStore:
    """Commands on open sessions; each raises `StoreUnavailableError` when Redis cannot be reached or refuses."""

    def __init__(self, settings: RedisSettings, client: redis.Redis | None = None) -> None:
        self._client = client or open_client(settings)
        self._prefix = settings.prefix

    def write(self, opened: Iterable[OpenSession], closed: Iterable[tuple[str, str]], *, ttl_seconds: int) -> None:
        """Store open sessions and forget closed ones, in one round trip; repeating it changes nothing.

        Parameters
        ----------
        closed
            Subject and session id.
        ttl_seconds
            How long after its newest event a session can be open at most.
        """
        pipeline = self._client.pipeline(transaction=False)
        for subject_id, session_id in closed:
            pipeline.eval(_CLOSE_SCRIPT, 1, session_key(self._prefix, subject_id), session_id)
        latest = {session.subject_id: session for session in sorted(opened, key=lambda session: session.ended_ms)}
        for session in latest.values():
            pipeline.set(session_key(self._prefix, session.subject_id), msgspec.msgpack.encode(session), ex=ttl_seconds)
        with translated():
            pipeline.execute()

    def read(self, subject_ids: Sequence[str]) -> list[OpenSession | None]:
        """Return each subject's open session, None where there is none."""
        if not subject_ids:
            return []
        with translated():
            values: Any = self._client.mget([session_key(self._prefix, subject_id) for subject_id in subject_ids])
        return [msgspec.msgpack.decode(value, type=OpenSession) if value else None for value in values]


def session_key(prefix: str, subject_id: str) -> bytes:
    """Return the key of a subject's open session."""
    return f"{prefix}s:{subject_id}".encode()
