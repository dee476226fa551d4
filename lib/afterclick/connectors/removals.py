"""What erasures, withdrawals and retention took from the tables that the ledger counts, batch by batch.

A deletion carries its `removal_id` in its commit; how many rows of which batch it took is counted from the versions
before and after that commit. So the count is exact beside streams that append, and nothing is lost by a crash: what was
begun is looked for in the table's history at the next look.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.connectors.delta_tables import read_table, table_lock, table_path
from afterclick.event_fates import BATCH_KEY, STORED
from afterclick.schemas import TABLES
from afterclick.settings import Settings

_USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


class RemovalReason(StrEnum):
    """Why rows may go."""

    ERASURE = "erasure"
    WITHDRAWAL = "withdrawal"
    RETENTION = "retention"


@contextmanager
def removing(spark: SparkSession, settings: Settings, table: str, reason: RemovalReason) -> Iterator[DeltaTable]:
    """Give the table for one deletion under its lock, and note what that took.

    1. that it begins, 2. the deletion, 3. its counts; `settle` does the third after a crash.
    """
    path = table_path(settings, table)
    with table_lock(path):
        delta = DeltaTable.forPath(spark, path)
        if table not in STORED:
            yield delta
            return
        removal_id = _begin(spark, settings, table, reason, _newest_version(delta))
        spark.conf.set(_USER_METADATA, removal_id)
        try:
            yield delta
        finally:
            spark.conf.unset(_USER_METADATA)
        _count_begun(spark, settings, table)


def settle(spark: SparkSession, settings: Settings, table: str) -> None:
    """Count what interrupted removals took from a table; to be called before its old files go."""
    if table not in STORED:
        return
    with table_lock(table_path(settings, table)):
        _count_begun(spark, settings, table)


def removed_rows(spark: SparkSession, settings: Settings) -> DataFrame:
    """Return ``query, generation, batch_id, fate, removed``: rows lawfully gone, by batch and table."""
    batches = read_table(spark, settings, "removals").select(F.col("table").alias("fate"), F.inline("batches"))
    return batches.groupBy(*BATCH_KEY, "fate").agg(F.sum("removed").alias("removed"))


def _begin(spark: SparkSession, settings: Settings, table: str, reason: RemovalReason, after: int) -> str:
    removal_id = uuid.uuid4().hex
    row = (removal_id, table, reason.value, after, datetime.now(UTC), None)
    path = table_path(settings, "removals")
    with table_lock(path):
        spark.createDataFrame([row], TABLES["removals"]).write.format("delta").mode("append").save(path)
    return removal_id


def _count_begun(spark: SparkSession, settings: Settings, table: str) -> None:
    begun = F.col("batches").isNull() & (F.col("table") == table)
    for row in read_table(spark, settings, "removals").where(begun).collect():
        counts = _taken(spark, table_path(settings, table), row.removal_id, row.after_version)
        found = counts.agg(F.collect_list(F.struct(*BATCH_KEY, "removed")).alias("batches"))
        path = table_path(settings, "removals")
        with table_lock(path):
            merge = (
                DeltaTable.forPath(spark, path).alias("r").merge(found.alias("f"), f"r.removal_id = '{row.removal_id}'")
            )
            merge.whenMatchedUpdate(set={"batches": "f.batches"}).execute()


def _taken(spark: SparkSession, path: str, removal_id: str, after: int) -> DataFrame:
    """Compare the versions around the removal's commit; no rows when it never came to one."""
    delta = DeltaTable.forPath(spark, path)
    newest = _newest_version(delta)
    history = delta.history(max(newest - after, 1)).where(F.col("userMetadata") == removal_id)
    commit = history.select("version").first()
    versions = (max(commit.version - 1, 0), commit.version) if commit else (newest, newest)  # the first ones are gone
    before, left = (_by_batch(spark, path, number) for number in versions)
    joined = before.alias("b").join(left.alias("l"), on=list(BATCH_KEY), how="left")
    removed = F.col("b.stored") - F.coalesce("l.stored", F.lit(0))
    return joined.select(*BATCH_KEY, removed.alias("removed")).where("removed > 0")


def _by_batch(spark: SparkSession, path: str, version: int) -> DataFrame:
    rows = spark.read.format("delta").option("versionAsOf", version).load(path).where("query IS NOT NULL")
    return rows.groupBy(*BATCH_KEY).agg(F.count(F.lit(1)).alias("stored"))


def _newest_version(delta: DeltaTable) -> int:
    newest = delta.history(1).select("version").first()
    return newest.version if newest else 0
