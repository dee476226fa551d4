"""The way of one erasure through every store; each step may be repeated, and none is skipped.

`begin` cuts the link and empties the lists: seconds, no Spark. `advance` goes on from wherever the last run stopped and
is called until every receipt says clean (`jobs/erase_subjects.py`, nightly).
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import SparkSession

from afterclick.connectors import delta_erasure, model_registry
from afterclick.connectors.checkpoints import first_times
from afterclick.connectors.erasure_store import Erasure, ErasureStore, Receipt
from afterclick.connectors.redis_erasure import RedisEraser
from afterclick.connectors.removals import RemovalReason
from afterclick.connectors.session_state import subjects_in_state
from afterclick.connectors.subject_store import open_subject_store
from afterclick.crash_points import CrashPoint, crash_at
from afterclick.pseudonyms import RawId
from afterclick.settings import Settings

logger = logging.getLogger(__name__)

_HOUR_MS = 3_600_000


def begin(settings: Settings, identifier: RawId) -> Erasure | None:
    """Cut the link to a person and empty their lists now; None when nobody is known by the identifier.

    1. subject store, 2. Redis. After a crash between the two `advance` does the second.
    """
    erasure = ErasureStore(open_subject_store(settings)).begin(identifier)
    if erasure:
        RedisEraser(settings.redis).forget(erasure.subject_ids)
    return erasure


def advance(spark: SparkSession, settings: Settings, erasure: Erasure) -> list[Receipt]:
    """Do what can be done now and return all receipts.

    1. lists, 2. rows of every table, 3. all keys of Redis and its append-only file, 4. old files of the tables, then what
    time alone removes is looked at: Kafka, state, models.
    """
    run = _Run(spark, settings, erasure)
    if erasure.subject_ids:
        run.eraser.forget(erasure.subject_ids)
        run.delete_rows()
        crash_at(CrashPoint.TABLES_ERASED, settings.faults.crash_point)
        run.empty_redis()
        crash_at(CrashPoint.CACHE_ERASED, settings.faults.crash_point)
    run.purge_tables()
    run.look_at_kafka()
    run.look_at_state()
    run.look_at_models()
    run.say("mlflow", run.now_ms, run.now_ms, "holds item factors, parameters and counts: no person")
    run.say("logs", run.now_ms, run.now_ms, "hold no ids")
    if run.is_searched():
        run.store.end_search(erasure.erasure_id)
    return sorted(run.receipts.values())


class _Run:
    """One run over the stores of one erasure."""

    def __init__(self, spark: SparkSession, settings: Settings, erasure: Erasure) -> None:
        subjects = open_subject_store(settings)
        self.store = ErasureStore(subjects)
        self.eraser = RedisEraser(settings.redis)
        self.receipts = dict(self.store.receipts(erasure.erasure_id))
        self.now_ms = subjects.now_ms()
        self._spark, self._settings, self._erasure = spark, settings, erasure

    def delete_rows(self) -> None:
        waiting = [table for table in delta_erasure.personal_tables() if not self._is_removed(table)]
        found = self._find(waiting)
        for table in waiting:
            self._delete(table, has_rows=table in found)

    def empty_redis(self) -> None:
        if self._is_clean("redis"):
            return
        self.eraser.remove_all(self._erasure.subject_ids)
        self.eraser.rewrite_append_only_file()
        self.say("redis", self.now_ms, self.now_ms, "no key is left; the append-only file was rewritten")

    def purge_tables(self) -> None:
        """Remove old files when they are due; rows that a batch under way has written since go first."""
        removed = {t: self.receipts[t].removed_ms for t in delta_erasure.personal_tables() if self._is_removed(t)}
        due = {table: at for table, at in removed.items() if at and self._is_due(at) and not self._is_clean(table)}
        found = self._find(list(due))
        for table, removed_ms in due.items():
            if table in found:
                self._delete(table, has_rows=True)
                continue
            delta_erasure.purge_table(self._spark, self._settings, table)
            self.say(table, removed_ms, self.now_ms, "rows purged, old files removed")

    def look_at_kafka(self) -> None:
        if self._is_clean("kafka"):
            return
        topics = (self._settings.kafka.events_topic, self._settings.triggers.topic)
        oldest = [at for topic in topics for at in first_times(self._settings.kafka, topic).values()]
        is_clean = all(at is None or at > self._erasure.requested_ms for at in oldest)
        told = "every message of that time is gone" if is_clean else "messages go with the topic's retention"
        self.say("kafka", None, self.now_ms if is_clean else None, told)

    def look_at_state(self) -> None:
        """Open sessions and recent events go with the watermark; their files as newer batches replace them."""
        if self._is_clean("state"):
            return
        root = Path(self._settings.storage.checkpoints) / "build_sessions" / "state"
        removed_ms = self.receipts["state"].removed_ms if "state" in self.receipts else None
        if removed_ms is None and not subjects_in_state(self._spark, root.parent) & set(self._erasure.subject_ids):
            removed_ms = self.now_ms
        times = [
            int(file.stat().st_mtime * 1000)
            for file in root.rglob("*")
            if file.suffix in {".zip", ".changelog", ".delta", ".sst"}
        ]
        is_clean = removed_ms is not None and all(at > removed_ms for at in times)
        told = "sessions and what triggers remember go with the watermark, files as newer batches replace them"
        self.say(
            "state", removed_ms, self.now_ms if is_clean else None, "no file of that time is left" if is_clean else told
        )

    def look_at_models(self) -> None:
        if self._is_clean("models"):
            return
        removed_ms = self.receipts["events"].removed_ms if "events" in self.receipts else None
        registry = model_registry.open_registry(self._settings)
        champion = model_registry.alias_version(registry, self._settings, model_registry.CHAMPION)
        trained_ms = self.now_ms
        if champion:
            trained_ms = model_registry.find_version(registry, self._settings, champion).creation_timestamp
        is_clean = removed_ms is not None and trained_ms > removed_ms
        told = "a model holds items only, no person; " + (
            "trained since" if is_clean else "the next training is without them"
        )
        self.say("models", self._erasure.requested_ms, self.now_ms if is_clean else None, told)

    def say(self, store: str, removed_ms: int | None, clean_ms: int | None, told: str) -> None:
        receipt = Receipt(store, removed_ms, clean_ms, told)
        if store not in self.receipts or self.receipts[store].clean_ms is None:
            self.store.note(self._erasure.erasure_id, receipt)
            self.receipts[store] = receipt

    def is_searched(self) -> bool:
        """Tell whether nothing is left for which the pseudonyms are needed."""
        clean = all(map(self._is_clean, ("redis", *delta_erasure.personal_tables())))
        return clean and self._is_removed("state")

    def _find(self, tables: Sequence[str]) -> set[str]:
        return delta_erasure.find_tables(self._spark, self._settings, tables, self._erasure.subject_ids)

    def _delete(self, table: str, *, has_rows: bool) -> None:
        if has_rows:
            gone = self._erasure.subject_ids
            delta_erasure.delete_people(self._spark, self._settings, table, gone, RemovalReason.ERASURE)
        hours = self._settings.privacy.vacuum_hours
        self.say(table, self.now_ms, None, f"old files go {hours:g} h after the rows")

    def _is_due(self, removed_ms: int) -> bool:
        return self.now_ms >= removed_ms + self._settings.privacy.vacuum_hours * _HOUR_MS

    def _is_removed(self, store: str) -> bool:
        return store in self.receipts and self.receipts[store].removed_ms is not None

    def _is_clean(self, store: str) -> bool:
        return store in self.receipts and self.receipts[store].clean_ms is not None
