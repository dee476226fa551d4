"""What all answers share: the served version's popular list and item ids, and what nobody may get."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

from afterclick.connectors.catalogue_store import catalogue_digest_key, catalogue_key, decode_catalogue
from afterclick.connectors.redis_store import decode_popular, items_key, pointer_key, popular_key
from afterclick.connectors.withdrawn_items import withdrawn_key
from afterclick.errors import ModelNotFoundError
from afterclick.list_records import NO_NAMES, ItemNames, TopList, unpack_names
from afterclick.models import load_model, newest_model
from afterclick.popular_list import popular_list
from afterclick.serving.model_reader import ModelReader
from afterclick.settings import Settings

logger = logging.getLogger(__name__)

_AWAY = (redis.ConnectionError, redis.TimeoutError, OSError)


class ServedVersion:
    """Remembers it; what cannot be read, or not be understood, stays as it was.

    Attributes
    ----------
    was_served
        Redis has named a served version to this process: if it names none now, it was wiped.
    """

    def __init__(self, settings: Settings, client: redis.asyncio.Redis, models: ModelReader) -> None:
        self._settings = settings
        self._prefix = settings.redis.prefix
        self._client = client
        self._models = models
        self._popular: TopList | None = None
        self._before: TopList | None = None
        self._names: dict[str, ItemNames] = {}
        self._withdrawn: frozenset[str] = frozenset()
        self._catalogue_digest: bytes | None = None
        self._out_of_stock: frozenset[str] = frozenset()
        self._told: dict[str, str] = {}
        self.hidden_from_all: frozenset[str] = frozenset()
        self.was_served = False

    @property
    def version(self) -> str:
        """Return the version of the popular list in memory; "" where there is none."""
        return self._popular.model_version if self._popular else ""

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

    def names_of(self, version: str) -> ItemNames:
        """Return a version's item ids, where they are known."""
        return self._names.get(version, NO_NAMES)

    async def refresh(self) -> None:
        """Read everything anew; without Redis keep the old, or make a popular list from a local model."""
        version = None
        try:
            pointer: Any = await self._client.get(pointer_key(self._prefix))
            version = pointer.decode(errors="replace") if pointer else None
            if version:
                await self.remember(version)
            await self._or_keep("withdrawn items", self._read_withdrawn())
            await self._or_keep("catalogue", self._read_catalogue())
        except (redis.RedisError, OSError) as error:
            logger.warning("popular list not refreshed: %r", error)
        await self._models.follow(version)
        if self._popular is None:
            self._popular = await asyncio.to_thread(_from_local_model, self._settings)

    async def remember(self, version: str) -> None:
        """Have the item ids and the popular list of this version, and of the one before: an answer must not mix two.

        The list changes with recent activity too (`jobs/aggregate_activity.py`), so it is read anew though the version is
        known. Raises what the client raises while Redis is away.
        """
        self.was_served = True
        if version not in self._names:
            await self._or_keep("item ids", self._read_names(version))
        await self._or_keep("popular list", self._read_popular(version))

    async def _or_keep(self, what: str, reading: Awaitable[None]) -> None:
        """Read something; what was stored but cannot be understood is logged, once, and changes nothing."""
        try:
            await reading
        except _AWAY:
            raise
        except Exception as error:
            if self._told.get(what) != repr(error):
                logger.exception("the %s in Redis cannot be read: the old one stays", what)
            self._told[what] = repr(error)
        else:
            self._told.pop(what, None)

    async def _read_names(self, version: str) -> None:
        """Have a version's item ids, and those of one more: a request may have read the pointer before it moved."""
        value: Any = await self._client.get(items_key(self._prefix, version))
        if value:
            names = await asyncio.to_thread(unpack_names, value)
            self._names = dict([*self._names.items(), (version, names)][-2:])

    async def _read_popular(self, version: str) -> None:
        is_new = self.version != version
        value: Any = await self._client.get(popular_key(self._prefix, version))
        if value:
            popular = decode_popular(value)
            self._before = self._popular if is_new else self._before
            self._popular = popular

    async def _read_withdrawn(self) -> None:
        members: Any = await self._client.smembers(withdrawn_key(self._prefix))
        self._withdrawn = frozenset(member.decode(errors="replace") for member in members)
        self.hidden_from_all = self._withdrawn | self._out_of_stock

    async def _read_catalogue(self) -> None:
        digest: Any = await self._client.get(catalogue_digest_key(self._prefix))
        if digest is None or digest == self._catalogue_digest:
            return
        content: Any = await self._client.get(catalogue_key(self._prefix))
        if content is None:
            return
        served = await asyncio.to_thread(decode_catalogue, content)
        await asyncio.to_thread(self._models.set_categories, served.category_of)
        self._out_of_stock = served.out_of_stock
        self._catalogue_digest = digest
        self.hidden_from_all = self._withdrawn | self._out_of_stock


def _from_local_model(settings: Settings) -> TopList | None:
    try:
        folder = newest_model(Path(settings.storage.models))
        model = load_model(folder) if folder else None
    except Exception as error:  # whatever is wrong with files: there may be a list later
        logger.warning("no popular list from local models: %r", error)
        return None
    return popular_list(model, settings.recommendations.list_size, now_ms=int(time.time() * 1000)) if model else None
