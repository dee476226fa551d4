"""Removing people's rows from Delta tables: marked as deleted, purged from files, old files removed.

The people are the source of a MERGE: a DELETE with a condition would write their pseudonyms into the table's log.
"""

from collections.abc import Sequence
from functools import reduce

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.connectors.delta_tables import read_table, table_lock, table_path
from afterclick.connectors.removals import RemovalReason, removing, settle
from afterclick.schemas import TABLES
from afterclick.settings import Settings

_UNSAFE_VACUUM = "spark.databricks.delta.retentionDurationCheck.enabled"
_IS_THEIRS = {
    "subject_id": "t.subject_id = gone.subject_id",
    "raw_key": "CAST(t.raw_key AS string) = gone.subject_id",
    "raw_value": "instr(CAST(t.raw_value AS string), gone.subject_id) > 0",
    "row": "instr(t.row, gone.subject_id) > 0",  # of a refused row of an imported file
}
_ELSEWHERE = {"activity": "t.kind = 'person' AND t.name = gone.subject_id"}
BY_PERSONALISATION = ("customers", "triggers", "activity")
"""Tables whose rows of people need consent to personalisation; those of all others need it to analytics."""


def personal_tables() -> list[str]:
    """Return the tables with rows of people: they say the pseudonym in a column, in raw bytes or in text."""
    return [name for name, schema in TABLES.items() if name in _ELSEWHERE or _IS_THEIRS.keys() & set(schema.names)]


def rows_of(rows: DataFrame, people: DataFrame, table: str) -> DataFrame:
    """Keep the rows of a personal table that are of people with a `subject_id`."""
    return rows.alias("t").join(people.alias("gone"), on=F.expr(_sql_condition(table)), how="left_semi")


def find_tables(spark: SparkSession, settings: Settings, tables: Sequence[str], subject_ids: Sequence[str]) -> set[str]:
    """Return those of the tables that have a row of people, in one Spark job: most have none."""
    if not (tables and subject_ids):
        return set()
    people = spark.createDataFrame([(subject_id,) for subject_id in subject_ids], "subject_id string")
    found = [
        rows_of(read_table(spark, settings, table), people, table).select(F.lit(table).alias("table")).limit(1)
        for table in tables
    ]
    return {row.table for row in reduce(DataFrame.unionByName, found).collect()}


def delete_people(
    spark: SparkSession, settings: Settings, table: str, subject_ids: Sequence[str], reason: RemovalReason
) -> None:
    """Delete the rows of people from a table; repeating it changes nothing."""
    people = spark.createDataFrame([(subject_id,) for subject_id in subject_ids], "subject_id string")
    with removing(spark, settings, table, reason) as delta:
        delta.alias("t").merge(people.alias("gone"), _sql_condition(table)).whenMatchedDelete().execute()


def purge_table(spark: SparkSession, settings: Settings, table: str) -> None:
    """Rewrite files with rows marked as deleted, and remove files that no snapshot of the allowed age needs."""
    settle(spark, settings, table)
    path = table_path(settings, table)
    before = spark.conf.get(_UNSAFE_VACUUM, "true") or "true"
    with table_lock(path):
        spark.sql(f"REORG TABLE delta.`{path}` APPLY (PURGE)")
        spark.conf.set(_UNSAFE_VACUUM, "false")  # the hours are the operator's decision
        try:
            DeltaTable.forPath(spark, path).vacuum(settings.privacy.vacuum_hours)
        finally:
            spark.conf.set(_UNSAFE_VACUUM, before)


def _sql_condition(table: str) -> str:
    parts = [condition for column, condition in _IS_THEIRS.items() if column in TABLES[table].names]
    return _ELSEWHERE.get(table) or " OR ".join(parts)
