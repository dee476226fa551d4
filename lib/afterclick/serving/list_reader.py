"""Lists from Redis without blocking the event loop, and the popular list kept in memory."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis.asyncio
from redis import RedisError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from afterclick.connectors.activity_store import Counts, activity_key, decode_activity
from afterclick.connectors.catalogue_store import catalogue_digest_key, catalogue_key, decode_catalogue
from afterclick.connectors.redis_store import (
    StoredHistory,
    decode_popular,
    history_key,
    items_key,
    list_key,
    pointer_key,
    popular_key,
    unpack_history,
)
from afterclick.connectors.subject_store import open_subject_store
from afterclick.connectors.withdrawn_items import withdrawn_key
from afterclick.errors import AfterclickError, ModelNotFoundError, StoreUnavailableError
from afterclick.list_records import NO_NAMES, ItemNames, TopList, unpack_list, unpack_names
from afterclick.models import load_model, newest_model
from afterclick.popular_list import popular_list
from afterclick.pseudonyms import RawId
from afterclick.serving.circuit_breaker import CircuitBreaker
from afterclick.serving.grouped_reads import GroupedReads
from afterclick.serving.model_reader import ModelReader
from afterclick.serving.seen_memory import PersonRead, SeenMemory, seen_keys
from afterclick.settings import Settings
from afterclick.subject_directory import SubjectDirectory
from afterclick.vocabulary import Purpose

logger = logging.getLogger(__name__)


class ListReader:
    """Reads one person's list, if they allow it; remembers the popular one."""

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
        self._popular: TopList | None = None
        self._before: TopList | None = None
        self._names: dict[str, ItemNames] = {}
        self._unreadable: str | None = None
        self._hidden_from_all: frozenset[str] = frozenset()
        self._catalogue_digest: bytes | None = None
        self._out_of_stock: frozenset[str] = frozenset()
        self._seen = SeenMemory(rules.remembered_histories, time.monotonic)
        self.models = ModelReader(settings)
        self._directory = SubjectDirectory(open_subject_store(settings), size=settings.privacy.remembered_people)

    @property
    def withdrawn(self) -> frozenset[str]:
        """Return the items that nobody may get: withdrawn ones, and those out of stock."""
        return self._hidden_from_all

    async def read_person(self, identifier: RawId, *, now_ms: int, with_history: bool = False) -> PersonRead:
        """Return a person's list as it is shown now and, `with_history`, what they had; neither when they do not allow it.

        While a store is away there is no list, and what they had is what this process read within the last hour.
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
        """Read from Redis; StoreUnavailableError if it does not answer in time, or did not lately."""
        if not self._breaker.may_ask():
            message = "Redis did not answer lately and is not asked now"
            raise StoreUnavailableError(message)
        try:
            found = await self._read_values(subject_id, now_ms, with_history=with_history)
        except (RedisError, OSError, TimeoutError) as error:
            self._breaker.failed()
            message = f"Redis did not answer within {self._settings.redis.timeout_seconds} s: {error!r}"
            raise StoreUnavailableError(message) from error
        self._breaker.succeeded()
        return found

    async def _read_values(
        self, subject_id: str, now_ms: int, *, with_history: bool
    ) -> tuple[TopList | None, StoredHistory | None]:
        """Ask for the list of the version that was served last, and for the pointer with it: it has moved once a night."""
        version, pointer = self._popular.model_version if self._popular else "", pointer_key(self._prefix)
        keys = [pointer, list_key(self._prefix, version, subject_id)]
        if with_history:
            keys.append(history_key(self._prefix, subject_id))
        served, stored, *histories = await self._reads.values(keys)
        if served is None:
            return None, None
        if served.decode() != version:
            version = served.decode()
            await self._remember_popular(version)
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
            return unpack_list(value, version, self._names.get(version, NO_NAMES), now_ms) if value else None
        except StoreUnavailableError as error:
            self.tell_unreadable(version, error)
            return None

    def tell_unreadable(self, version: str, error: StoreUnavailableError) -> None:
        """Log, once a version, that a list could not be read: its person gets the popular one until it is made anew."""
        if self._unreadable != version:
            logger.warning("lists of version %s cannot be read: %s", version, error)
        self._unreadable = version

    async def _remember_popular(self, version: str) -> None:
        """Have the popular list of exactly this version, and of the one before: an answer must not mix two; and its item ids.

        It changes with recent activity too (`jobs/aggregate_activity.py`), so it is read anew though the version is known.
        """
        is_new = self._popular is None or self._popular.model_version != version
        if version not in self._names:
            await self._remember_names(version)
        value: Any = await self._client.get(popular_key(self._prefix, version))
        if value:
            self._before = self._popular if is_new else self._before
            self._popular = decode_popular(value)

    async def _remember_names(self, version: str) -> None:
        """Have a version's item ids, and those of one more: a request may have read the pointer before it moved."""
        value: Any = await self._client.get(items_key(self._prefix, version))
        if value:
            names = await asyncio.to_thread(unpack_names, value)
            self._names = dict([*self._names.items(), (version, names)][-2:])

    def popular(self, version: str | None = None) -> TopList:
        """Return the popular list in memory, of a version if it is one of the last two.

        Raises
        ------
        ModelNotFoundError
            If there has never been a model.
        """
        if self._popular is None:
            message = "there is no model yet: import history and run the jobs train_model and warm_cache"
            raise ModelNotFoundError(message)
        is_before = self._before is not None and self._before.model_version == version
        return self._before if is_before and self._before else self._popular

    async def refresh_popular(self) -> None:
        """Read the served version's popular list; without Redis keep the old one or make one from a local model."""
        version: Any = None
        try:
            version = await self._client.get(pointer_key(self._prefix))
            if version:
                await self._remember_popular(version.decode())
            members: Any = await self._client.smembers(withdrawn_key(self._prefix))
            withdrawn = frozenset(member.decode() for member in members)
            await self._refresh_catalogue()
            self._hidden_from_all = withdrawn | self._out_of_stock
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("popular list not refreshed: %r", error)
        await self.models.follow(version.decode() if version else None)
        if self._popular is None:
            self._popular = await asyncio.to_thread(_from_local_model, self._settings)

    async def _refresh_catalogue(self) -> None:
        digest: Any = await self._client.get(catalogue_digest_key(self._prefix))
        if digest is not None and digest != self._catalogue_digest:
            content: Any = await self._client.get(catalogue_key(self._prefix))
            served = await asyncio.to_thread(decode_catalogue, content)
            await asyncio.to_thread(self.models.set_categories, served.category_of)
            self._out_of_stock = served.out_of_stock
            self._catalogue_digest = digest

    async def keep_fresh(self) -> None:
        """Refresh the popular list and follow changes of people for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._directory.follow_changes())
            while True:
                await self.refresh_popular()
                await asyncio.sleep(self._settings.serving.popular_refresh_seconds)

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


def _from_local_model(settings: Settings) -> TopList | None:
    try:
        folder = newest_model(Path(settings.storage.models))
        model = load_model(folder) if folder else None
    except AfterclickError as error:
        logger.warning("no popular list from local models: %s", error)
        return None
    return popular_list(model, settings.recommendations.list_size, now_ms=int(time.time() * 1000)) if model else None
