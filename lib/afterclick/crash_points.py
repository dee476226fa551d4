"""Named places at which a process ends itself by SIGKILL, to prove that no crash loses or doubles anything.

Nothing happens at any of them unless the setting ``faults.crash_point`` names it: without it each place is one
comparison a batch (docs/decisions/0015-crash-points.md). `afterclick faults run` visits them all.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any


class CrashPoint(StrEnum):
    """Where to die; the first pass is the last."""

    OFFSETS_WRITTEN = "CP0"
    """A batch's offsets are in the checkpoint, nothing of it is written."""
    AFTER_QUARANTINE = "CP1"
    """Ingest has committed ``quarantine``, not ``events``."""
    AFTER_EVENTS = "CP2"
    """Ingest has committed ``events``, not the ledger."""
    AFTER_SESSIONS = "CP3"
    """``sessions`` is committed, the batch is not."""
    HALF_PIPELINE = "CP4"
    """Redis has half of a batch's histories and lists."""
    REDIS_DONE = "CP5"
    """Redis has them all, the batch is not committed."""
    FUNCTION_RETURNED = "CP6"
    """The batch's function has returned, its commit is absent."""
    COMMIT_WRITTEN = "CP7"
    """The commit is written, the snapshot of the session state is not."""
    INSIDE_WRITE = "CP8"
    """New files of ``events`` are there, the table's log does not know them."""
    MAINTENANCE = "CP9"
    """The same while old files are compacted or removed."""
    PRODUCED = "CP10"
    """Kafka has the collector's events, the collector has not counted the report."""
    REPORT_IN = "CP11"
    """The collector knows, the client does not."""
    TABLES_ERASED = "CP12"
    """An erased person's rows are deleted from the tables, their keys in Redis are not."""
    CACHE_ERASED = "CP13"
    """The keys are, the old files are not; streams may repeat a batch of before."""
    ALIAS_MOVED = "CP14"
    """The registry names the new champion, Redis still serves the old one."""
    HALF_FACTORS = "CP15"
    """Half of a new model's item factors are in their file."""
    HALF_WARMED = "CP16"
    """At least one part of a new version's lists is written, not all are."""


_AFTER_TABLE = {
    "quarantine": CrashPoint.AFTER_QUARANTINE,
    "events": CrashPoint.AFTER_EVENTS,
    "sessions": CrashPoint.AFTER_SESSIONS,
}


def crash_at(point: CrashPoint, chosen: CrashPoint | None) -> None:
    """End this process, and the group it leads, when `point` is the chosen one."""
    if chosen is point:
        die()


def crash_after_table(table: str, chosen: CrashPoint | None) -> None:
    """End this process when the chosen point follows the commit of `table`."""
    if chosen is not None and _AFTER_TABLE.get(table) is chosen:
        die()


def crash_around(write_batch: Callable[[Any, int], None], chosen: CrashPoint | None) -> Callable[[Any, int], None]:
    """Return the batch writer itself, or one that dies just before or after it."""
    if chosen not in (CrashPoint.OFFSETS_WRITTEN, CrashPoint.FUNCTION_RETURNED):
        return write_batch

    def write_and_die(batch: Any, batch_id: int) -> None:
        crash_at(CrashPoint.OFFSETS_WRITTEN, chosen)
        write_batch(batch, batch_id)
        crash_at(CrashPoint.FUNCTION_RETURNED, chosen)

    return write_and_die


@contextmanager
def crash_while_writing(point: CrashPoint, root: str, chosen: CrashPoint | None) -> Iterator[None]:
    """End this process as soon as a new data file appears under the table's folder, or an old one goes."""
    before = _files(Path(root), "*.parquet") if chosen is point else set()
    with crash_when(point, lambda: _files(Path(root), "*.parquet") != before, chosen):
        yield


@contextmanager
def crash_when(point: CrashPoint, is_time: Callable[[], bool], chosen: CrashPoint | None) -> Iterator[None]:
    """End this process as soon as `is_time` says so, asked each millisecond, but not after the block's end."""
    if chosen is not point:
        yield
        return
    ended = threading.Event()
    _die_when(is_time, unless=ended)
    try:
        yield
    finally:
        ended.set()  # nothing to write: die another time


def crash_half_written(point: CrashPoint, path: Path, chosen: CrashPoint | None) -> None:
    """End this process with only the first half of a file in its place."""
    if chosen is point:
        os.truncate(path, path.stat().st_size // 2)
        die()


def crash_after_commit(query: str, checkpoint: str, chosen: CrashPoint | None) -> None:
    """End this process as soon as the session query has committed a batch more."""
    if chosen is CrashPoint.COMMIT_WRITTEN and query == "build_sessions":
        commits = Path(checkpoint) / "commits"
        before = _files(commits, "[0-9]*")
        _die_when(lambda: bool(_files(commits, "[0-9]*") - before), unless=threading.Event())


def die() -> None:
    """Kill this process as ``kill -9`` does; the whole group where it leads one: the driver's JVM belongs to it."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _die_when(is_time: Callable[[], bool], *, unless: threading.Event) -> None:
    def watch() -> None:
        while not unless.is_set():
            if is_time():
                die()
            time.sleep(0.001)

    threading.Thread(target=watch, name="crash-point", daemon=True).start()


def _files(folder: Path, pattern: str) -> set[str]:
    return {str(path) for path in folder.rglob(pattern)} if folder.exists() else set()
