"""Removing people from Redis: at once, everywhere, and from its append-only file.

A removed history leaves a fence that no stream passes, for a minute: a batch that is being computed cannot bring the
person back. By then every stream knows (`kept_out`).
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import redis

from afterclick.connectors.redis_store import (
    CLOSED,
    StoredHistory,
    history_key,
    list_key,
    pack_history,
    pointer_key,
    translated,
)
from afterclick.errors import StoreUnavailableError
from afterclick.histories import RECORD
from afterclick.setting_sections import RedisSettings

FENCE_SECONDS = 60
_CLOSED = pack_history(StoredHistory(np.zeros(0, RECORD)), CLOSED)
_PATIENCE_SECONDS = 5.0


class RedisEraser:
    """Commands that remove people."""

    def __init__(self, settings: RedisSettings) -> None:
        self._client = redis.Redis.from_url(
            settings.url.get_secret_value(), socket_timeout=_PATIENCE_SECONDS, protocol=2
        )
        self._prefix = settings.prefix

    def forget(self, subject_ids: Sequence[str]) -> int:
        """Remove every key of the people and leave fences; returns the number of keys.

        1. histories and served lists: answers change now, 2. whatever a scan of all keys finds, also inside the sets of
        those whose lists of another version are behind.
        """
        with translated():
            version: Any = self._client.get(pointer_key(self._prefix))
            pipeline = self._client.pipeline(transaction=True)
            for subject_id in subject_ids:
                pipeline.set(history_key(self._prefix, subject_id), _CLOSED, ex=FENCE_SECONDS)
                pipeline.delete(list_key(self._prefix, version.decode() if version else "none", subject_id))
            pipeline.execute()
            fences = {history_key(self._prefix, subject_id) for subject_id in subject_ids}
            left = [key for key in self.keys_of(subject_ids) if key not in fences]
            if left:
                self._client.delete(*left)
            self._leave_behind_sets(subject_ids)
            return len(left) + len(fences)

    def open_again(self, subject_ids: Sequence[str]) -> None:
        """Remove fences: the people allow it again."""
        with translated():
            for subject_id in subject_ids:
                key = history_key(self._prefix, subject_id)
                if self._client.get(key) == _CLOSED:
                    self._client.delete(key)

    def keys_of(self, subject_ids: Sequence[str]) -> list[bytes]:
        """Return every key whose last part is one of the subjects."""
        wanted = {subject_id.encode() for subject_id in subject_ids}
        with translated():
            keys = self._client.scan_iter(match=f"{self._prefix}*", count=5_000)
            return [key for key in keys if key.rsplit(b":", 1)[-1] in wanted]

    def values_of(self, subject_ids: Sequence[str]) -> dict[str, bytes]:
        """Return every key of the subjects with its value."""
        keys = self.keys_of(subject_ids)
        with translated():
            values: Any = self._client.mget(keys) if keys else []
        return {key.decode(): value for key, value in zip(keys, values, strict=True) if value is not None}

    def remove_all(self, subject_ids: Sequence[str]) -> None:
        """Remove every key and the fences too."""
        with translated():
            if left := self.keys_of(subject_ids):
                self._client.delete(*left)
            self._leave_behind_sets(subject_ids)

    def rewrite_append_only_file(self, *, wait_seconds: float = 60.0) -> None:
        """Have the server write its append-only file anew: the old one still holds what was removed.

        Raises
        ------
        StoreUnavailableError
            If it has not done so within `wait_seconds`.
        """
        with translated():
            if not self._persistence()["aof_enabled"]:
                return
            if not self._persistence()["aof_rewrite_in_progress"]:
                self._client.bgrewriteaof()
            deadline = time.monotonic() + wait_seconds
            while (state := self._persistence())["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]:
                if time.monotonic() > deadline:
                    message = (
                        f"Redis has not rewritten its append-only file within {wait_seconds:.0f} s; it is tried again"
                    )
                    raise StoreUnavailableError(message)
                time.sleep(0.05)
            if state["aof_last_bgrewrite_status"] != "ok":
                message = "Redis could not rewrite its append-only file: see its log, most likely the disk is full"
                raise StoreUnavailableError(message)

    def _leave_behind_sets(self, subject_ids: Sequence[str]) -> None:
        for key in self._client.scan_iter(match=f"{self._prefix}behind:*", count=5_000):
            self._client.srem(key, *subject_ids)

    def _persistence(self) -> dict[str, Any]:
        return dict(self._client.info("persistence"))
