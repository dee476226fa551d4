"""Who has an open session, read from the session query's checkpoint."""

from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession


def subjects_in_state(spark: SparkSession, checkpoint: Path) -> set[str]:
    """Return the subjects with an open session as of the last committed batch; none before the first."""
    if not any((checkpoint / "commits").glob("[0-9]*")):
        return set()
    state = spark.read.format("statestore").load(str(checkpoint))
    field = next(name for name in state.schema["value"].dataType.names)  # type: ignore[attr-defined]  # a struct
    blobs = state.selectExpr(f"value.{field}.open AS open").toArrow()["open"].to_pylist()
    tables = [pa.ipc.open_stream(blob).read_all() for blob in blobs if blob]
    return {subject for table in tables for subject in table["subject_id"].to_pylist()}
