"""Everything built once more from the first offset, elsewhere, and Redis from the tables after a wipe."""

import time
from pathlib import Path
from typing import Any

import redis
from pyspark.sql import SparkSession

from afterclick.connectors import redis_store
from afterclick.connectors.checkpoints import committed_offsets, end_offsets, has_settled, newest_batch
from afterclick.connectors.delta_tables import stop_between_batches
from afterclick.errors import LocalStackError
from afterclick.list_records import TopList, unpack_list
from afterclick.settings import Settings

_ROUNDING = 0.01
"""Share of the best score; a step of those that are stored is less (`list_records.LEVELS`)."""
Scores = list[tuple[str, float]]


def elsewhere(settings: Settings, folder: Path) -> Settings:
    """Return settings with tables and checkpoints of their own."""
    storage = settings.storage.model_copy(
        update={"tables": str(folder / "tables"), "checkpoints": str(folder / "checkpoints")}
    )
    return settings.model_copy(update={"storage": storage})


def rebuild_tables(spark: SparkSession, settings: Settings, *, seconds: float) -> None:
    """Run ingest and sessions from the first offset to the last."""
    from jobs import build_sessions, ingest_events  # noqa: PLC0415 - jobs import connectors, we sit above

    queries = [job.start(spark, settings) for job in (ingest_events, build_sessions)]
    try:
        wait_until_drained(settings, (ingest_events.QUERY, build_sessions.QUERY), seconds=seconds)
    finally:
        for query in queries:
            stop_between_batches(query)
    for query in queries:
        if error := query.exception():
            raise error


def wait_until_drained(settings: Settings, queries: tuple[str, ...], *, seconds: float) -> None:
    """Wait until the queries have committed every message, and the batch without data that closes sessions.

    Raises
    ------
    LocalStackError
        If none commits a batch for `seconds`.
    """
    topic, servers = settings.kafka.events_topic, settings.kafka.bootstrap_servers
    folders = [Path(settings.storage.checkpoints) / name for name in queries]
    progress_at, last, where = time.monotonic(), "", {}
    while True:
        state = str([last_commit(settings, folder.name) for folder in folders])
        if state != last:
            progress_at, last = time.monotonic(), state
        if all(map(has_settled, folders)):
            end = end_offsets(servers, topic)
            where = {folder.name: committed_offsets(folder, topic) for folder in folders}
            if all(offsets == end for offsets in where.values()):
                return
        if time.monotonic() - progress_at > seconds:
            message = (
                f"no batch for {seconds:.0f} s, {', '.join(queries)} not at the end of {topic}: {where}; at {last}"
            )
            raise LocalStackError(message)
        time.sleep(0.3)


def last_commit(settings: Settings, query: str) -> int:
    """Return the number of a query's newest committed batch, -1 before the first."""
    newest = newest_batch(Path(settings.storage.checkpoints) / query)
    return -1 if newest is None else newest


def cached(settings: Settings) -> dict[bytes, Any]:
    """Return what Redis holds by key: records of histories, items and scores of lists; not when they were written."""
    client = redis.Redis.from_url(settings.redis.url.get_secret_value(), protocol=2)
    store, prefix = redis_store.connect(settings.redis), settings.redis.prefix.encode()
    found: dict[bytes, Any] = {}
    for key in client.scan_iter(prefix + b"[hr]:*", count=1000):
        value: Any = client.get(key)
        if key.startswith(prefix + b"h:"):
            found[key] = redis_store.unpack_history(value).records.tobytes()
        else:
            version = key.removeprefix(prefix + b"r:").split(b":")[0].decode()
            found[key] = _scores_of(unpack_list(value, version, store.read_items(version)))
    return found


def differences(before: dict[bytes, Any], after: dict[bytes, Any]) -> int:
    """Count the keys whose values differ; scores may do so by rounding: batches of other sizes add in another order."""
    return sum(not _is_same(before.get(key), after.get(key)) for key in before.keys() | after.keys())


def _scores_of(top: TopList) -> tuple[Scores, Scores]:
    """Return the list for the next visit and the one of a visit that was not over when the lists were made."""
    later, current = top.later or top.items, top.items if top.later else []
    return [(item.item_id, item.score) for item in later], [(item.item_id, item.score) for item in current]


def _is_same(one: Any, other: Any) -> bool:
    """Compare values; a visit may have ended between the two, so a list of it may be in one of them only."""
    if not (isinstance(one, tuple) and isinstance(other, tuple)):
        return bool(one == other)
    return _is_same_list(one[0], other[0]) and (not one[1] or not other[1] or _is_same_list(one[1], other[1]))


def _is_same_list(one: Scores, other: Scores) -> bool:
    names = [[item for item, _ in listed] for listed in (one, other)]
    most = _ROUNDING * max((abs(score) for _, score in one), default=0.0)
    return names[0] == names[1] and all(abs(a[1] - b[1]) <= most for a, b in zip(one, other, strict=True))


def wipe(settings: Settings) -> None:
    """Delete everything in Redis."""
    redis.Redis.from_url(settings.redis.url.get_secret_value()).flushall()
