"""The run of `jobs/replay_quarantine.py` that is under way: written down first, so that a crash can be finished."""

import json
import logging
import time
from dataclasses import asdict, dataclass
from typing import Any

from delta.tables import DeltaTable
from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession

from afterclick.connectors.delta_tables import filesystem_of, generation, table_lock, table_path, write_whole
from afterclick.event_fates import POSITION, Batch
from afterclick.quarantine_fixes import Steps
from afterclick.settings import Settings

logger = logging.getLogger(__name__)
QUERY = "replay_quarantine"


@dataclass(frozen=True)
class ReplayRun:
    """What a run replays: `version` of table ``quarantine``, `selection` of its rows (SQL), and the steps of the fix.

    `number` is the time of its beginning in milliseconds; it only grows, so it serves as the batch's id.
    """

    version: int
    selection: str
    steps: Steps
    number: int = 0

    def batch(self, settings: Settings) -> Batch:
        """Return the ledger's key of this run."""
        return Batch(QUERY, str(generation(settings, QUERY)), self.number)


def begin_run(settings: Settings, version: int, selection: str, steps: Steps) -> ReplayRun:
    """Write a new run down and return it."""
    run = ReplayRun(version, selection, steps, time.time_ns() // 1_000_000)
    content = json.dumps(asdict(run)).encode()
    write_whole(*_file(settings), content)
    return run


def unfinished_run(settings: Settings) -> ReplayRun | None:
    """Return the run that a crash left behind; one whose file cannot be read never began, and is told and left out."""
    filesystem, path = _file(settings)
    if filesystem.get_file_info(path).type != fs.FileType.File:
        return None
    with filesystem.open_input_stream(path) as stream:
        content = stream.read()
    try:
        run: dict[str, Any] = json.loads(content)
    except ValueError as error:
        logger.warning("%s cannot be read (%s): its replay never began, nothing of it is in the tables", path, error)
        return None
    return ReplayRun(**run)


def end_run(settings: Settings) -> None:
    """Forget the run: everything of it is in the tables."""
    filesystem, path = _file(settings)
    filesystem.delete_file(path)


def quarantine_version(spark: SparkSession, settings: Settings) -> int:
    """Return the newest version of table ``quarantine``."""
    history = DeltaTable.forPath(spark, table_path(settings, "quarantine")).history(1)
    return int(history.collect()[0].version)


def read_run(spark: SparkSession, settings: Settings, run: ReplayRun) -> DataFrame:
    """Return the rows of a run: always the same, whatever was quarantined or replayed since."""
    reader = spark.read.format("delta").option("versionAsOf", run.version)
    return reader.load(table_path(settings, "quarantine")).where(run.selection)


def mark_replayed(spark: SparkSession, settings: Settings, fates: DataFrame) -> None:
    """Say in quarantine what became of the messages that left it; `fates` has one row per Kafka position."""
    left = fates.where("fate <> 'quarantine'").select(*POSITION, "fate")
    path = table_path(settings, "quarantine")
    is_same = " AND ".join(f"kept.{name} <=> replayed.{name}" for name in POSITION)
    merge = DeltaTable.forPath(spark, path).alias("kept").merge(left.alias("replayed"), is_same)
    marks = {"replayed_at": "current_timestamp()", "replay_fate": "replayed.fate"}
    with table_lock(path):
        merge.whenMatchedUpdate("kept.replayed_at IS NULL", marks).execute()


def _file(settings: Settings) -> tuple[fs.FileSystem, str]:
    filesystem, folder = filesystem_of(f"{settings.storage.checkpoints}/{QUERY}")
    filesystem.create_dir(folder, recursive=True)
    return filesystem, f"{folder}/run.json"
