"""Who is in the state of sessions and triggers, read from the session query's checkpoint."""

from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

_PARTS = ("open", "recent", "last")
"""Parts of `schemas_sessions.SHARD_STATE` with a `subject_id`; the others hold keys of sessions and events."""

_REPORTS = ("coordinatorReportSnapshotUploadLag", "forceSnapshotUploadOnLag")
"""Off for reading: else a snapshot that is read is reported to a coordinator that only a program with a stream has."""


def subjects_in_state(spark: SparkSession, checkpoint: Path) -> set[str]:
    """Return the subjects with an open session or a recent event as of the last committed batch; none before the first."""
    if not any((checkpoint / "commits").glob("[0-9]*")):
        return set()
    reader = spark.newSession()
    for name in _REPORTS:
        reader.conf.set(f"spark.sql.streaming.stateStore.{name}", "false")
    state = reader.read.format("statestore").load(str(checkpoint))
    field = next(name for name in state.schema["value"].dataType.names)  # type: ignore[attr-defined]  # a struct
    rows = state.selectExpr(*[f"value.{field}.{part} AS {part}" for part in _PARTS]).toArrow()
    blobs = [blob for part in _PARTS for blob in rows[part].to_pylist() if blob]
    tables = [pa.ipc.open_stream(blob).read_all() for blob in blobs]
    return {subject for table in tables for subject in table["subject_id"].to_pylist()}
