"""Catalogue and customers in Delta: checked imports by key, and the rejoin of items that came after their events."""

import hashlib
import logging
from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.connectors import redis_store
from afterclick.connectors.catalogue_store import ServedCatalogue, write_catalogue
from afterclick.connectors.delta_tables import append_once, read_table, table_lock, table_path
from afterclick.enrichment import ITEM_COLUMNS
from afterclick.errors import ContractError, StoreUnavailableError
from afterclick.quality import failed_names, read_suite
from afterclick.schemas import TABLES
from afterclick.schemas_dimensions import REJECTED_ROW
from afterclick.settings import Settings

logger = logging.getLogger(__name__)
KEYS = {"items": "item_id", "customers": "subject_id"}
"""Key column by dimension table."""
_SHOWN = 10


class Imported(NamedTuple):
    """What became of a file's rows."""

    rows: int
    taken: int
    rejected: int
    rejoined: int
    without_consent: int = 0


def import_dimension(spark: SparkSession, settings: Settings, table: str, rows: pa.Table) -> Imported:
    """Put rows into a dimension table, replacing those with the same key; refused ones go to ``rejected_rows``.

    Parameters
    ----------
    rows
        Columns of the table's schema, those that are not there null; customers by pseudonym. Repeating it changes nothing.

    Raises
    ------
    ContractError
        If a key comes twice (rows without one are refused by the suite): which of the rows is meant? Nothing is taken then.
    """
    key = KEYS[table]
    _refuse_repeated(table, rows[key], key)
    import_id = hashlib.sha256("".join(map(str, rows.to_pylist())).encode()).hexdigest()[:16]
    numbered = rows.append_column("line", pa.array(range(len(rows)), pa.int64()))
    lines = spark.createDataFrame(numbered)
    suite = read_suite(settings.suite_path(table))
    checked = lines.withColumn("reasons", failed_names(suite)).persist()
    try:
        valid = checked.where(F.size("reasons") == 0).withColumn("updated_at", F.lit(datetime.now(UTC)))
        rejected = checked.where(F.size("reasons") > 0).withColumns(
            {
                "import_id": F.lit(import_id),
                "table_name": F.lit(table),
                "row": F.to_json(F.struct(*rows.column_names)),
                "rejected_at": F.current_timestamp(),
            }
        )
        refused = rejected.count()
        if refused:
            append_once(
                rejected.select(*REJECTED_ROW.names),
                settings,
                query=f"import_{import_id}",
                table="rejected_rows",
                batch_id=0,
            )
        _merge(spark, settings, table, valid.select(*TABLES[table].names), key)
    finally:
        checked.unpersist()
    rejoined = rejoin_items(spark, settings) if table == "items" else 0
    return Imported(len(rows), len(rows) - refused, refused, rejoined)


def rejoin_items(spark: SparkSession, settings: Settings) -> int:
    """Fill in the rows of ``enriched_items`` whose item the catalogue has by now; return how many.

    Repeating it changes nothing.
    """
    path = table_path(settings, "enriched_items")
    items = read_table(spark, settings, "items")
    waiting = read_table(spark, settings, "enriched_items").where("NOT is_item_known").select("item_id").distinct()
    found = items.join(waiting, on="item_id", how="left_semi")
    if not found.take(1):
        return 0
    values = {ours: f"items.{theirs}" for ours, theirs in ITEM_COLUMNS.items()} | {"is_item_known": "true"}
    merge = (
        DeltaTable.forPath(spark, path)
        .alias("rows")
        .merge(found.alias("items"), "NOT rows.is_item_known AND rows.item_id = items.item_id")
    )
    with table_lock(path):
        merge.whenMatchedUpdate(set=values).execute()
    last = DeltaTable.forPath(spark, path).history(1).select("operationMetrics").first()
    count = int(last[0].get("numTargetRowsUpdated", 0)) if last else 0
    logger.info("items rejoined rows=%d", count)
    return count


def publish_catalogue(spark: SparkSession, settings: Settings) -> None:
    """Tell the API the items' categories and which are out of stock; repeating it changes nothing.

    While Redis is away it is told by the next ``afterclick rebuild-cache``.
    """
    if not DeltaTable.isDeltaTable(spark, table_path(settings, "items")):
        return
    items = read_table(spark, settings, "items").select("item_id", "category", "in_stock").toArrow()  # a catalogue
    names, categories, stocks = (items[name].to_pylist() for name in items.column_names)
    category_of = {name: category for name, category in zip(names, categories, strict=True) if category}
    gone = frozenset(name for name, in_stock in zip(names, stocks, strict=True) if in_stock is False)
    try:
        write_catalogue(redis_store.connect(settings.redis), ServedCatalogue(category_of, gone))
    except StoreUnavailableError as error:
        logger.warning("the API does not know the new catalogue yet (`afterclick rebuild-cache` tells it): %s", error)


def table_version(spark: SparkSession, settings: Settings, table: str) -> int:
    """Return the newest version of a table: another one means that it has changed."""
    newest = DeltaTable.forPath(spark, table_path(settings, table)).history(1).select("version").first()
    return int(newest[0]) if newest else -1


def _refuse_repeated(table: str, keys: pa.ChunkedArray, key: str) -> None:
    counts = pc.value_counts(keys.combine_chunks()).to_pylist()
    repeated = sorted(str(entry["values"]) for entry in counts if entry["counts"] > 1 and entry["values"])
    if repeated:
        told = ", ".join(repeated[:_SHOWN]) + (", ..." if len(repeated) > _SHOWN else "")
        message = f"{table}: {len(repeated)} values of {key} come more than once: {told}. Keep one row of each."
        raise ContractError(message)


def _merge(spark: SparkSession, settings: Settings, table: str, rows: DataFrame, key: str) -> None:
    path = table_path(settings, table)
    merge = DeltaTable.forPath(spark, path).alias("old").merge(rows.alias("new"), f"old.{key} = new.{key}")
    names = [name for name in TABLES[table].names if name != "updated_at"]
    differs = " OR ".join(f"NOT (old.{name} <=> new.{name})" for name in names)  # so that a repetition changes nothing
    with table_lock(path):
        merge.whenMatchedUpdateAll(condition=differs).whenNotMatchedInsertAll().execute()
