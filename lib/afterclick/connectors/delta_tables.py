"""Delta tables and the streams that write them, each commit once.

On a local disk one writer at a time holds a lock per table root around a commit, because a local
file system can lose a concurrent one; object stores bring their own log store.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from delta.tables import DeltaTable
from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import StructField, StructType

from afterclick.crash_points import (
    CrashPoint,
    crash_after_commit,
    crash_after_table,
    crash_around,
    crash_while_writing,
)
from afterclick.errors import SchemaMismatchError, SettingsError
from afterclick.schemas import TABLES
from afterclick.settings import Settings

logger = logging.getLogger(__name__)

BatchWriter = Callable[[DataFrame, int], None]
_PARTITIONED_BY = {"events": "event_date", "enriched_items": "event_date"}
_held_locks: dict[str, IO[str]] = {}


def table_path(settings: Settings, table: str) -> str:
    """Location of a table by its name in `schemas.TABLES`."""
    return f"{settings.storage.tables}/{table}"


def ensure_tables(spark: SparkSession, settings: Settings, names: Iterable[str] = tuple(TABLES)) -> None:
    """Create the tables that do not exist, add new nullable columns to the others, and check them.

    Parameters
    ----------
    names
        The tables that a job reads and writes: looking at one costs a cold session a second.

    Raises
    ------
    SchemaMismatchError
        If an existing table lacks a column that may not be null or has one of another type; all differences at once.
    """
    for table in names:
        path, schema = table_path(settings, table), TABLES[table]
        if DeltaTable.isDeltaTable(spark, path):
            actual = spark.read.format("delta").load(path).schema
            _check_schema(table, actual, schema)
            _add_columns(spark, path, [field for field in schema if field.name not in actual.names])
            continue
        builder = DeltaTable.createIfNotExists(spark).location(path).addColumns(schema)
        if table in _PARTITIONED_BY:
            builder = builder.partitionedBy(_PARTITIONED_BY[table])
        for name, value in _properties(schema, _PARTITIONED_BY.get(table)).items():
            builder = builder.property(name, value)
        with table_lock(path):
            builder.execute()


def _properties(schema: StructType, partition: str | None) -> dict[str, str]:
    """Return deletion vectors for erasure, and a log without text: its statistics would keep erased people's ids."""
    kinds = ("timestamp", "date", "bigint", "int", "double")
    named = [field.name for field in schema if field.dataType.simpleString() in kinds]
    counted = ",".join(name for name in named if name != partition)
    statistics = {"delta.dataSkippingStatsColumns": counted} if counted else {"delta.dataSkippingNumIndexedCols": "0"}
    return {"delta.enableDeletionVectors": "true", **statistics}


def read_table(spark: SparkSession, settings: Settings, table: str) -> DataFrame:
    """Return the newest snapshot of a table."""
    return spark.read.format("delta").load(table_path(settings, table))


def append_once(rows: DataFrame, settings: Settings, *, query: str, table: str, batch_id: int) -> None:
    """Append a batch of a query to a table; Delta skips what was already committed for this checkpoint generation."""
    path = table_path(settings, table)
    writer = rows.write.format("delta").mode("append")
    writer = writer.option("txnAppId", transaction_id(settings, query, table)).option("txnVersion", batch_id)
    point = settings.faults.crash_point
    with table_lock(path), crash_while_writing(CrashPoint.INSIDE_WRITE, path, point if table == "events" else None):
        writer.save(path)
    crash_after_table(table, point)


def transaction_id(settings: Settings, query: str, table: str) -> str:
    """Delta's ``txnAppId`` of a query's writes to one table, new for a reset checkpoint."""
    return f"{query}:{table}:{generation(settings, query)}"


def generation(settings: Settings, query: str) -> int:
    """Epoch second at which the query's checkpoint was begun; a reset checkpoint gets a later one.

    Raises
    ------
    SettingsError
        If the file that holds it is damaged: a guess may lose batches or write them twice.

    Notes
    -----
    Batch ids start at 0 again with a new checkpoint; without a new generation their writes would be
    taken for repetitions and skipped in silence.
    """
    filesystem, folder = filesystem_of(f"{settings.storage.checkpoints}/{query}")
    path = f"{folder}/generation"
    if filesystem.get_file_info(path).type == fs.FileType.File:
        with filesystem.open_input_stream(path) as stream:
            content = stream.read().decode(errors="replace")
        if not content.strip().isdecimal():
            message = (
                f"{path} holds {content!r} instead of the second at which this checkpoint was begun, and a guess may lose "
                f"batches. Write it into the file: it is the number of the newest txn appId '{query}:<table>:<number>' in "
                "the _delta_log of a table that the query writes. If there is none, remove the file."
            )
            raise SettingsError(message)
        return int(content)
    filesystem.create_dir(folder, recursive=True)
    begun = int(time.time())
    write_whole(filesystem, path, str(begun).encode())
    return begun


def write_whole(filesystem: fs.FileSystem, path: str, content: bytes) -> None:
    """Write a small file so that a crash leaves the one before it or none, never a part."""
    beside = f"{path}.{os.getpid()}.tmp"
    with filesystem.open_output_stream(beside) as stream:
        stream.write(content)
    filesystem.move(beside, path)


def start_stream(
    rows: DataFrame, name: str, write_batch: BatchWriter, settings: Settings, *, trigger_ms: int, pool: str
) -> StreamingQuery:
    """Start the query `name` with its own checkpoint.

    Parameters
    ----------
    write_batch
        Called at least once per batch, so it must be safe to repeat.
    trigger_ms
        Shortest time between two batches in milliseconds; 0 = as soon as there is data.
    pool
        FAIR scheduler pool, ``fast`` or ``bulk``.

    Raises
    ------
    SettingsError
        If another process on this machine runs the same query on the same checkpoint.
    """
    generation(settings, name)
    _hold_checkpoint(settings, name)
    rows.sparkSession.sparkContext.setLocalProperty("spark.scheduler.pool", pool)
    checkpoint = f"{settings.storage.checkpoints}/{name}"
    writer = rows.writeStream.queryName(name).foreachBatch(crash_around(write_batch, settings.faults.crash_point))
    writer = writer.option("checkpointLocation", checkpoint)
    crash_after_commit(name, checkpoint, settings.faults.crash_point)
    query = writer.trigger(processingTime=f"{trigger_ms} milliseconds").start()
    logger.info("query started name=%s trigger_ms=%d pool=%s", name, trigger_ms, pool)
    return query


def stop_between_batches(query: StreamingQuery, *, wait_seconds: float = 60.0) -> None:
    """Stop a query while no batch is running; after `wait_seconds` stop it all the same.

    Notes
    -----
    A stop during a Python ``foreachBatch`` makes the JVM print a StackOverflowError.
    """
    deadline = time.monotonic() + wait_seconds
    while query.isActive and query.status["isTriggerActive"] and time.monotonic() < deadline:
        time.sleep(0.005)
    query.stop()


@contextmanager
def fates_lock(settings: Settings) -> Iterator[None]:
    """Hold while fates are decided and stored: two processes that look and then write would store an event twice."""
    with table_lock(f"{settings.storage.tables}/fates"):
        yield


@contextmanager
def table_lock(path: str) -> Iterator[None]:
    """Hold the commit lock of a table on a local disk; nothing to hold elsewhere."""
    if not _has_locks(path):
        yield
        return
    root = Path(path)
    root.parent.mkdir(parents=True, exist_ok=True)
    with (root.parent / f".{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hold_checkpoint(settings: Settings, query: str) -> None:
    """Keep a lock for the life of this process: two copies of a query lose data silently."""
    folder = f"{settings.storage.checkpoints}/{query}"
    if not _has_locks(folder) or folder in _held_locks:
        return
    lock = (Path(folder).parent / f".{query}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        message = f"query {query} already runs on checkpoint {folder} in another process; stop that one first"
        raise SettingsError(message) from error
    _held_locks[folder] = lock


def _add_columns(spark: SparkSession, path: str, fields: Sequence[StructField]) -> None:
    """Add columns of a newer version; rows of older ones have null there."""
    if not fields:
        return
    told = ", ".join(f"`{field.name}` {field.dataType.simpleString()}" for field in fields)
    with table_lock(path):
        spark.sql(f"ALTER TABLE delta.`{path}` ADD COLUMNS ({told})")
    logger.info("columns added table=%s columns=%s", path, told)


def _check_schema(table: str, actual: StructType, expected: StructType) -> None:
    found = {field.name: field.dataType.simpleString() for field in actual}
    wanted = {field.name: field.dataType.simpleString() for field in expected}
    required = {field.name for field in expected if not field.nullable}
    differences = [f"missing {name!r} ({kind})" for name, kind in wanted.items() if name in required - found.keys()]
    differences += [
        f"{name!r} is {found[name]}, expected {kind}" for name, kind in wanted.items() if found.get(name, kind) != kind
    ]
    if differences:
        message = (
            f"table {table} does not match schemas.TABLES[{table!r}]: {'; '.join(differences)}. A writer with another "
            "version has run; compare DESCRIBE HISTORY, then migrate or roll back."
        )
        raise SchemaMismatchError(message)


def _is_local(path: str) -> bool:
    return "://" not in path or path.startswith("file:")


def _has_locks(path: str) -> bool:
    """Return whether a path is on a disk; a Unity Catalog volume only looks like one."""
    return _is_local(path) and not path.startswith("/Volumes/")


def filesystem_of(location: str) -> tuple[fs.FileSystem, str]:
    """Return a folder's file system and its path there."""
    uri = location.replace("s3a://", "s3://", 1)
    if _is_local(uri):
        return fs.LocalFileSystem(), str(Path(uri.removeprefix("file://")).resolve())
    filesystem, path = fs.FileSystem.from_uri(uri)
    return filesystem, path
