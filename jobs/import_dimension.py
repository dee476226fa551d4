"""A catalogue or customers -> their Delta table, by key, through their suite.

Reads       a Parquet, CSV or JSON Lines file, with a mapping of our column names to its own
Writes      table ``items`` or ``customers``          schemas_dimensions
            table ``rejected_rows``                   rows that the suite refused, with reasons
            table ``enriched_items``                  items that were unknown when their events came
            Redis ``{prefix}catalogue``               categories and stock, for the API
            table ``triggers``, Kafka, lists          people who wait for a lower price or for an item to be back
Repeating   the same file changes nothing
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import SparkSession

from afterclick.catalogue_triggers import find_catalogue_triggers
from afterclick.connectors import delta_tables
from afterclick.connectors.accepted_events import read_accepted
from afterclick.connectors.dimension_tables import KEYS, Imported, import_dimension, publish_catalogue, table_version
from afterclick.connectors.subject_store import open_subject_store
from afterclick.dimension_files import keep_allowed, read_dimension_file, read_dimension_mapping
from afterclick.job_runner import job_context
from afterclick.schemas_sessions import TRIGGER_FIRED
from afterclick.session_effects import recompute_triggered, send_triggers
from afterclick.settings import Settings
from afterclick.trigger_file import CatalogueChange, running_rules

_TABLES = {"after": "items", "fired": "triggers"}


def main(argv: Sequence[str] | None = None) -> int:
    """Import one file."""
    parser = argparse.ArgumentParser(prog="import_dimension")
    parser.add_argument("table", choices=KEYS)
    parser.add_argument("file", type=Path)
    parser.add_argument("--mapping", type=Path, default=None)
    arguments, rest = parser.parse_known_args(argv)
    read_dimension_mapping(arguments.mapping, arguments.table)  # so that a wrong one is told before Spark starts
    with job_context("import_dimension", rest) as (spark, settings):
        import_file(spark, settings, arguments.table, arguments.file, arguments.mapping)
    return 0


def import_file(
    spark: SparkSession, settings: Settings, table: str, file: Path, mapping_file: Path | None = None
) -> Imported:
    """Import one file with raw subject ids; return what became of its rows."""
    rows = read_dimension_file(file, table, read_dimension_mapping(mapping_file, table))
    delta_tables.ensure_tables(spark, settings)
    left_out = 0
    if table == "customers":
        given, rows = len(rows), keep_allowed(rows, open_subject_store(settings))
        left_out = given - len(rows)
    version = table_version(spark, settings, table)
    imported = import_dimension(spark, settings, table, rows)
    if table == "items":
        publish_catalogue(spark, settings)
        fire_changes(spark, settings, version, now=datetime.now(UTC))
    return imported._replace(without_consent=left_out)


def fire_changes(spark: SparkSession, settings: Settings, version: int, *, now: datetime) -> None:
    """Fire the triggers of rules on prices and stock for what changed in ``items`` since `version`."""
    before = spark.read.format("delta").option("versionAsOf", version).load(delta_tables.table_path(settings, "items"))
    tables = {name: delta_tables.read_table(spark, settings, table) for name, table in _TABLES.items()}
    events = read_accepted(spark, settings)
    for rule in running_rules(settings.triggers.rules, "").rules:
        if isinstance(rule, CatalogueChange):
            found = find_catalogue_triggers(rule, before=before, events=events, **tables, now=now).toArrow()
            if len(found):
                recompute_triggered(found, settings, now=now)
                fired = spark.createDataFrame(found, TRIGGER_FIRED)
                query = f"import_items_{rule.name}_{now:%Y%m%dT%H%M%S%f}"
                delta_tables.append_once(fired, settings, query=query, table="triggers", batch_id=0)
                send_triggers(fired, settings)


if __name__ == "__main__":
    sys.exit(main())
