"""Lists from Redis without blocking the event loop."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import redis.asyncio
from redis import RedisError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from afterclick.background_tasks import for_ever
from afterclick.connectors.activity_store import Counts, activity_key, decode_activity
from afterclick.connectors.redis_store import StoredHistory, history_key, list_key, pointer_key, unpack_history
from afterclick.connectors.subject_store import open_subject_store
from afterclick.errors import StoreUnavailableError
from afterclick.list_records import TopList, unpack_list
from afterclick.pseudonyms import RawId
from afterclick.serving.circuit_breaker import CircuitBreaker
from afterclick.serving.grouped_reads import GroupedReads
from afterclick.serving.model_reader import ModelReader
from afterclick.serving.seen_memory import PersonRead, SeenMemory, seen_keys
from afterclick.serving.served_version import ServedVersion
from afterclick.settings import Settings
from afterclick.subject_directory import POLL_SECONDS, SubjectDirectory
from afterclick.vocabulary import Purpose

logger = logging.getLogger(__name__)


class ListReader:
    """Reads one person's list, if they allow it; knows the popular one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prefix = settings.redis.prefix
        timeout = settings.redis.timeout_seconds
        url = settings.redis.url.get_secret_value()
        # One new attempt at once, for connections that a restart of Redis cut; the client's own ten with pauses would
        # keep a request for seconds.
        once = Retry(NoBackoff(), 1)
        self._client = redis.asyncio.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, protocol=2, retry=once
        )
        self._reads = GroupedReads(self._client, timeout)
        rules = settings.serving
        self._breaker = CircuitBreaker(rules.breaker_failures, rules.breaker_open_seconds, time.monotonic)
        self._unreadable: str | None = None
        self._seen = SeenMemory(rules.remembered_histories, time.monotonic)
        self.models = ModelReader(settings)
        self._served = ServedVersion(settings, self._client, self.models)
        self._directory = SubjectDirectory(open_subject_store(settings), size=settings.privacy.remembered_people)

    @property
    def withdrawn(self) -> frozenset[str]:
        """Return the items that nobody may get: withdrawn ones, and those out of stock."""
        return self._served.hidden_from_all

    async def read_person(self, identifier: RawId, *, now_ms: int, with_history: bool = False) -> PersonRead:
        """Return a person's list as it is shown now and, `with_history`, what they had; neither when they do not allow it.

        While a store is away, or Redis was wiped, there is no list, and what they had is what this process read within the
        last hour.
        """
        subject_id = None
        try:
            subject_id = await self._find(identifier)
            found = await self._ask(subject_id, now_ms, with_history=with_history) if subject_id else (None, None)
            top, history = found
        except StoreUnavailableError as error:
            logger.warning("served without the store: %s", error)
            seen = self._seen.recall(subject_id) if subject_id else None
            return PersonRead(seen=seen, is_store_away=True, subject_id=subject_id)
        seen = seen_keys(history)
        if with_history and subject_id:
            self._seen.keep(subject_id, seen)
        return PersonRead(top, history, seen, subject_id=subject_id)

    async def _find(self, identifier: RawId) -> str | None:
        person = await self._directory.find(identifier)
        return person.subject_id if person and person.allows(Purpose.PERSONALISATION) else None

    async def _ask(
        self, subject_id: str, now_ms: int, *, with_history: bool
    ) -> tuple[TopList | None, StoredHistory | None]:
        """Read from Redis; StoreUnavailableError if it does not answer in time, did not lately, or was wiped."""
        if not self._breaker.may_ask():
            message = "Redis did not answer lately and is not asked now"
            raise StoreUnavailableError(message)
        try:
            found = await self._read_values(subject_id, now_ms, with_history=with_history)
        except (RedisError, OSError, TimeoutError) as error:
            self._breaker.failed()
            message = f"Redis did not answer within {self._settings.redis.timeout_seconds} s: {error!r}"
            raise StoreUnavailableError(message) from error
        except StoreUnavailableError:
            self._breaker.succeeded()
            raise
        self._breaker.succeeded()
        return found

    async def _read_values(
        self, subject_id: str, now_ms: int, *, with_history: bool
    ) -> tuple[TopList | None, StoredHistory | None]:
        """Ask for the list of the version that was served last, and for the pointer with it: it has moved once a night."""
        version, pointer = self._served.version, pointer_key(self._prefix)
        keys = [pointer, list_key(self._prefix, version, subject_id)]
        if with_history:
            keys.append(history_key(self._prefix, subject_id))
        served, stored, *histories = await self._reads.values(keys)
        if served is None and self._served.was_served:
            message = "Redis names no served version any more: it was wiped, run afterclick rebuild-cache"
            raise StoreUnavailableError(message)
        if served is None:
            return None, None
        self._served.was_served = True
        if (told := served.decode(errors="replace")) != version:
            version = told
            await self._served.remember(version)
            (stored,) = await self._reads.values([list_key(self._prefix, version, subject_id)])
        history = unpack_history(histories[0]) if histories and histories[0] else None
        return self._unpacked(version, stored, now_ms), history

    async def read_activity(self, kind: str, name: str) -> Counts:
        """Return how often a thing was viewed, bought ... of late; raises as `read_person`."""
        try:
            value: Any = await self._client.get(activity_key(self._prefix, kind, name))
        except (RedisError, OSError, TimeoutError) as error:
            raise _no_answer(error) from error
        return decode_activity(value)

    async def sample_lists(self, most: int) -> list[TopList]:
        """Return at most `most` lists of the served version, in no order; for a page, not for answers. Raises as above."""
        try:
            version: Any = await self._client.get(pointer_key(self._prefix))
            pattern = list_key(self._prefix, version.decode() if version else "", "*")
            found = self._client.scan_iter(match=pattern, count=1_000)
            keys = [key async for key in _first(found, most)] if version else []
            values: list[Any] = await self._client.mget(keys) if keys else []
        except (RedisError, OSError, TimeoutError) as error:
            raise _no_answer(error) from error
        # In a thread: two thousand lists take a tenth of a second, in which requests are answered.
        lists = await asyncio.to_thread(lambda: [self._unpacked(version.decode(), value) for value in values])
        return [top for top in lists if top]

    def _unpacked(self, version: str, value: bytes | None, now_ms: int | None = None) -> TopList | None:
        """Return a stored list; none where it cannot be read. With `now_ms` that may show only while it is looked at."""
        try:
            return unpack_list(value, version, self._served.names_of(version), now_ms) if value else None
        except StoreUnavailableError as error:
            self.tell_unreadable(version, error)
            return None

    def tell_unreadable(self, version: str, error: StoreUnavailableError) -> None:
        """Log, once a version, that a list could not be read: its person gets the popular one until it is made anew."""
        if self._unreadable != version:
            logger.warning("lists of version %s cannot be read: %s", version, error)
        self._unreadable = version

    def popular(self, version: str | None = None) -> TopList:
        """Return the popular list in memory; see `ServedVersion.popular`."""
        return self._served.popular(version)

    async def refresh_popular(self) -> None:
        """Read anew what all answers share."""
        await self._served.refresh()

    def keep_fresh(self) -> tuple[Coroutine[Any, Any, None], Coroutine[Any, Any, None]]:
        """Return what refreshes the popular list and follows changes of people for ever, for `in_background`.

        Not as tasks of a group: it cancels each only once, and Redis' client may drop that (see `in_background`).
        """
        seconds = self._settings.serving.popular_refresh_seconds
        return (
            for_ever(self._directory.follow_changes, POLL_SECONDS, "following changes of people"),
            for_ever(self._served.refresh, seconds, "refreshing the popular list"),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _no_answer(error: Exception) -> StoreUnavailableError:
    return StoreUnavailableError(f"Redis did not answer: {error!r}")


async def _first(keys: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    count = 0
    async for key in keys:
        yield key
        count += 1
        if count >= most:
            return
