"""Histories and lists in Redis: exact bytes, compare-and-set writes, one pointer to the served model.

====================================  =====================================================
``{prefix}model``                     served model version (utf-8)
``{prefix}h:{subject}``               history: header, then `histories.pack_records`
``{prefix}r:{version}:{subject}``     list of one version: `list_records`
``{prefix}popular:{version}``         for people without a list: MessagePack of `TopList`
``{prefix}items:{version}``           ids of the version's items in the order of its rows: MessagePack
====================================  =====================================================

`connectors.version_pointer` has the keys of a switch. docs/decisions/0004-redis-layout.md says why.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
import redis

from afterclick.connectors.redis_scripts import WRITE
from afterclick.crash_points import CrashPoint, crash_at
from afterclick.errors import StoreUnavailableError
from afterclick.histories import RECORD, History, pack_records, read_plain_records, unpack_records
from afterclick.list_records import ItemNames, TopList, pack_list, pack_names, unpack_list, unpack_names
from afterclick.setting_sections import RedisSettings

MAGIC = b"AH02"
_READ = {MAGIC: unpack_records, b"AH01": read_plain_records}
_HEADER = struct.Struct("<4sIIqq")
_STREAM_PATIENCE = 10.0

WRITTEN, CONFLICT, FENCED, MOVED = 1, 0, -1, -2


class Fence(NamedTuple):
    """Who writes: checkpoint generation and batch. An older writer's effects are refused."""

    generation: int
    batch_id: int


NOBODY = Fence(0, 0)
CLOSED = Fence(2**32 - 1, 0)
"""Of a history that nobody may write: its person withdrew or was erased a moment ago."""


@dataclass(frozen=True)
class StoredHistory:
    """A history with what its header says; `revision` 0 means that nothing is stored."""

    records: History
    revision: int = 0
    fence: Fence = NOBODY
    fresh_as_of_ms: int = 0


class ListUpdate(NamedTuple):
    """What `fence` stores for one subject.

    `history.revision` is the one that was read; `top` is None before the first model. `serving` is the served version
    that the list is for ("" before the first): a list for another one is refused. None: whatever is served (warming).
    """

    subject_id: str
    history: StoredHistory
    top: TopList | None
    fence: Fence
    serving: str | None = None


def connect(
    settings: RedisSettings, *, patience: float = _STREAM_PATIENCE, crash_point: CrashPoint | None = None
) -> "RedisStore":
    """Return a store; it connects at the first command.

    Parameters
    ----------
    patience
        Times ``timeout_seconds`` to wait for one round trip; 1 for the API.
    """
    return RedisStore(open_client(settings, patience), settings, crash_point)


def open_client(settings: RedisSettings, patience: float = _STREAM_PATIENCE) -> redis.Redis:
    """Return this process's client to the address in `settings`; `patience` as in `connect`."""
    return _client(settings.url.get_secret_value(), settings.timeout_seconds * patience)


@lru_cache(maxsize=4)
def _client(url: str, timeout: float) -> redis.Redis:
    """Return a process's one connection pool to an address: a handshake for each batch would cost milliseconds."""
    return redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, protocol=2)


class RedisStore:
    """Commands on histories and lists.

    Every method raises `StoreUnavailableError` when Redis cannot be reached or refuses.
    """

    def __init__(self, client: redis.Redis, settings: RedisSettings, crash_point: CrashPoint | None = None) -> None:
        self.client = client
        self.settings = settings
        self._crash_point = crash_point
        self._prefix = settings.prefix

    def read_histories(self, subject_ids: Sequence[str]) -> list[StoredHistory]:
        """Return the history of each subject in one round trip; an empty one where nothing is stored."""
        if not subject_ids:
            return []
        with translated():
            values: list[Any] = self.client.mget([history_key(self._prefix, subject_id) for subject_id in subject_ids])
        return [unpack_history(value) if value else StoredHistory(np.zeros(0, RECORD)) for value in values]

    def write_lists(self, updates: Sequence[ListUpdate]) -> list[int]:
        """Store histories and lists, each pair at once, all in one round trip.

        Returns
        -------
        list of int
            ``WRITTEN``; ``CONFLICT`` when someone wrote since we read: read, merge and write again; ``FENCED`` when a
            later batch or generation has written: leave it; ``MOVED`` when another version is served now: compute anew.
        """
        pipeline = self.client.pipeline(transaction=False)
        day = 86_400
        if self._crash_point is CrashPoint.HALF_PIPELINE:
            updates = updates[: (len(updates) + 1) // 2]
        pointers = (pointer_key(self._prefix), f"{self._prefix}next", f"{self._prefix}previous")
        for subject_id, history, top, fence, serving in updates:
            lists = list_key(self._prefix, top.model_version if top else "none", subject_id)
            keys = (history_key(self._prefix, subject_id), lists, *pointers)
            blob = pack_history(history, fence)
            arguments = (history.revision, *fence, blob, self.settings.history_ttl_days * day)
            encoded = pack_list(top, self.read_items(top.model_version)) if top else b""
            switch = ("*" if serving is None else serving, f"{self._prefix}behind:", subject_id)
            pipeline.eval(WRITE, 5, *keys, *arguments, encoded, self.settings.list_ttl_days * day, *switch)
        with translated():
            answers = [int(answer) for answer in pipeline.execute()]
        crash_at(CrashPoint.HALF_PIPELINE, self._crash_point)
        return answers

    def read_list(self, subject_id: str) -> tuple[str | None, TopList | None]:
        """Return the served version and the subject's list of that version, if any."""
        version = self.served_version()
        if version is None:
            return None, None
        with translated():
            value: Any = self.client.get(list_key(self._prefix, version, subject_id))
        return version, unpack_list(value, version, self.read_items(version)) if value else None

    def served_version(self) -> str | None:
        """Return the model version the pointer names; None before the first."""
        with translated():
            value: Any = self.client.get(pointer_key(self._prefix))
        return value.decode() if value else None

    def switch_version(self, version: str) -> None:
        """Point to a version at once; beside running streams use `switching`."""
        with translated():
            self.client.set(pointer_key(self._prefix), version.encode())

    def write_popular(self, top: TopList) -> None:
        """Store the list for people without one; it does not expire."""
        with translated():
            self.client.set(popular_key(self._prefix, top.model_version), msgspec.msgpack.encode(top))

    def read_popular(self, version: str) -> TopList | None:
        """Return the list for people without one."""
        with translated():
            value: Any = self.client.get(popular_key(self._prefix, version))
        return decode_popular(value) if value else None

    def write_items(self, version: str, item_ids: Sequence[str], *, expires: bool = False) -> None:
        """Store a version's item ids in the order of its rows; `expires` = with the lists, for one that is not served."""
        seconds = self.settings.list_ttl_days * 86_400 if expires else None
        with translated():
            self.client.set(items_key(self._prefix, version), pack_names(item_ids), ex=seconds)

    def read_items(self, version: str) -> ItemNames:
        """Return a version's item ids, read once in a process; StoreUnavailableError where they are not stored."""
        return _item_names(self.client, items_key(self._prefix, version))


@lru_cache(maxsize=4)
def _item_names(client: redis.Redis, key: bytes) -> ItemNames:
    with translated():
        value: Any = client.get(key)
    if value is None:
        message = (
            f"Redis has no key {key.decode()}, so no list of that version can be read: run `afterclick rebuild-cache`"
        )
        raise StoreUnavailableError(message)
    return unpack_names(value)


def pointer_key(prefix: str) -> bytes:
    """Return the key that names the served model version."""
    return f"{prefix}model".encode()


def history_key(prefix: str, subject_id: str) -> bytes:
    """Return the key of a subject's history."""
    return f"{prefix}h:{subject_id}".encode()


def list_key(prefix: str, version: str, subject_id: str) -> bytes:
    """Return the key of a subject's list of one model version."""
    return f"{prefix}r:{version}:{subject_id}".encode()


def popular_key(prefix: str, version: str) -> bytes:
    """Return the key of a version's list for people without one."""
    return f"{prefix}popular:{version}".encode()


def items_key(prefix: str, version: str) -> bytes:
    """Return the key of a version's item ids."""
    return f"{prefix}items:{version}".encode()


def pack_history(history: StoredHistory, fence: Fence) -> bytes:
    """Return the value after a write by `fence`: the revision goes up by one."""
    revision = (history.revision + 1) % 2**32 or 1
    header = _HEADER.pack(MAGIC, revision, fence.generation, fence.batch_id, history.fresh_as_of_ms)
    return header + pack_records(history.records, history.fresh_as_of_ms)


def unpack_history(value: bytes) -> StoredHistory:
    """Return the history stored in a value.

    Raises
    ------
    StoreUnavailableError
        If the value is not one of ours.
    """
    try:
        magic, revision, generation, batch_id, fresh_as_of_ms = _HEADER.unpack_from(value)
        records = _READ[magic](value, _HEADER.size, fresh_as_of_ms)
    except (LookupError, ValueError, OverflowError, struct.error) as error:
        told = f"a history of {len(value)} bytes begins with {value[:4]!r}, expected {MAGIC!r}"
        raise StoreUnavailableError(f"{told}; another program uses the prefix") from error
    return StoredHistory(records, revision, Fence(generation, batch_id), fresh_as_of_ms)


def decode_popular(value: bytes) -> TopList:
    """Decode what `RedisStore.write_popular` stored."""
    return msgspec.msgpack.decode(value, type=TopList)


class translated:  # noqa: N801 - reads as a statement
    """Turn the client's errors into ours."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        """Translate."""
        if isinstance(error, redis.RedisError):
            message = f"Redis does not answer as it should: {error}. See docs/operations.md, 'Redis is down'."
            raise StoreUnavailableError(message) from error
