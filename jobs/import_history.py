"""A recorded log -> checked events in Delta, past the collector and Kafka but through the same checks.

Reads       a Parquet, CSV or JSON Lines file with a mapping
Writes      tables ``events``, ``quarantine``, ``ledger`` (as jobs/ingest_events.py does; nothing in a file is late)
Repeating   the same file adds nothing: its digest names the transaction
Next        jobs/train_model.py
"""

import argparse
import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from afterclick.connectors import delta_tables
from afterclick.connectors.subject_store import open_subject_store
from afterclick.event_fates import FATES
from afterclick.events import decode_events
from afterclick.imported_history import admit_subjects, encode_history
from afterclick.job_runner import job_context
from afterclick.quality import flag_violations, read_suite
from afterclick.recorded_logs import read_log, read_mapping
from afterclick.settings import Settings
from jobs.ingest_events import WRITTEN, write_events


def main(argv: Sequence[str] | None = None) -> int:
    """Import one file."""
    parser = argparse.ArgumentParser(prog="import_history")
    parser.add_argument("file", type=Path)
    parser.add_argument("--mapping", type=Path, default=None)
    arguments, rest = parser.parse_known_args(argv)
    with job_context("import_history", rest) as (spark, settings):
        import_file(spark, settings, arguments.file, arguments.mapping)
    return 0


def import_file(spark: SparkSession, settings: Settings, file: Path, mapping_file: Path | None) -> None:
    """Import one file; repeating it adds nothing."""
    mapping = read_mapping(mapping_file)
    log = read_log(file, mapping).table
    import_log(spark, settings, log, digest=file_digest(file, mapping_file), purposes=mapping.purposes)


def file_digest(file: Path, mapping_file: Path | None) -> str:
    """Name a file and its mapping by their contents."""
    mapping = mapping_file.read_bytes() if mapping_file else b""
    return hashlib.sha256(file.read_bytes() + mapping).hexdigest()[:16]


def count_import(spark: SparkSession, settings: Settings, digest: str) -> dict[str, int]:
    """Return what the ledger says of an import, by fate."""
    ledger = delta_tables.read_table(spark, settings, "ledger").where(F.col("query") == f"import_{digest}")
    row = ledger.select("consumed", *FATES).first()
    return {name: int(count) for name, count in row.asDict().items()} if row else {}


def import_log(spark: SparkSession, settings: Settings, log: pa.Table, *, digest: str, purposes: Iterable[str]) -> None:
    """Write a log with the default columns and raw subject ids; repeating a `digest` adds nothing."""
    delta_tables.ensure_tables(spark, settings, WRITTEN)
    purposes = tuple(purposes)
    known = admit_subjects(log, open_subject_store(settings), purposes)
    numbered = known.append_column("line", pa.array(np.arange(known.num_rows)))
    raw = encode_history(spark.createDataFrame(numbered), digest=digest, purposes=purposes)
    suite = read_suite(settings.suite_path("events"))
    checked = flag_violations(decode_events(raw), suite)
    write_events(checked, 0, settings=settings, query=f"import_{digest}", clock=None)


if __name__ == "__main__":
    sys.exit(main())
