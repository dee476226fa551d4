"""A recorded log -> checked events in Delta, past the collector and Kafka but through the same checks.

Reads       a Parquet, CSV or JSON Lines file with a mapping
Writes      tables ``events``, ``quarantine``, ``ledger`` (as jobs/ingest_events.py does)
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

from afterclick.connectors import delta_tables
from afterclick.events import decode_events
from afterclick.imported_history import encode_history, pseudonymise_subjects
from afterclick.job_runner import job_context
from afterclick.pseudonyms import pseudonym
from afterclick.quality import flag_violations, read_suite
from afterclick.recorded_logs import read_log, read_mapping
from afterclick.settings import Settings
from jobs.ingest_events import write_events


def main(argv: Sequence[str] | None = None) -> int:
    """Import one file."""
    parser = argparse.ArgumentParser(prog="import_history")
    parser.add_argument("file", type=Path)
    parser.add_argument("--mapping", type=Path, required=True)
    arguments, rest = parser.parse_known_args(argv)
    mapping = read_mapping(arguments.mapping)
    digest = hashlib.sha256(arguments.file.read_bytes() + arguments.mapping.read_bytes()).hexdigest()[:16]
    with job_context("import_history", rest) as (spark, settings):
        log = read_log(arguments.file, mapping).table
        import_log(spark, settings, log, digest=digest, purposes=mapping.purposes)
    return 0


def import_log(spark: SparkSession, settings: Settings, log: pa.Table, *, digest: str, purposes: Iterable[str]) -> None:
    """Write a log with the default columns and raw subject ids; repeating a `digest` adds nothing."""
    delta_tables.ensure_tables(spark, settings)
    key = settings.privacy.pseudonym_key.get_secret_value().encode()
    known = pseudonymise_subjects(log, lambda name: pseudonym(name, kind="user", key=key))
    numbered = known.append_column("line", pa.array(np.arange(known.num_rows)))
    raw = encode_history(spark.createDataFrame(numbered), digest=digest, purposes=purposes)
    suite = read_suite(settings.conf_dir / "expectations" / "events.json")
    write_events(flag_violations(decode_events(raw), suite), 0, settings=settings, query=f"import_{digest}")


if __name__ == "__main__":
    sys.exit(main())
