"""What the ledger says: how far event time has come, and whether every message is accounted for."""

from datetime import UTC
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from afterclick.connectors.delta_tables import ensure_tables, read_table
from afterclick.connectors.removals import removed_rows, settle
from afterclick.event_clock import Past, Position
from afterclick.event_fates import BATCH_KEY, FATES, STORED, Batch
from afterclick.settings import Settings


def read_past(spark: SparkSession, settings: Settings, batch: Batch) -> Past:
    """Return what the query has read before a batch, in this checkpoint generation and in earlier ones."""
    ledger = read_table(spark, settings, "ledger").where(F.col("query") == batch.query)
    is_ours = F.col("generation") == batch.generation
    is_before = is_ours & (F.col("batch_id") < batch.batch_id)
    rows = (
        ledger.select("generation", "batch_id", F.inline("offsets"))
        .groupBy("topic", "kafka_partition")
        .agg(
            F.max(F.when(is_before, F.col("newest_event_at"))).alias("newest_at"),
            F.max(F.when(~is_ours, F.col("until_offset"))).alias("seen_until"),
        )
        .collect()
    )
    found = [(Position(row.topic, row.kafka_partition), row) for row in rows]
    return Past(
        {position: row.newest_at.replace(tzinfo=UTC) for position, row in found if row.newest_at},
        {position: row.seen_until for position, row in found if row.seen_until},
    )


def check_ledger(spark: SparkSession, settings: Settings) -> dict[str, int]:
    """Return the ledger's sums and every kind of difference; without faults all of `FAULTS` are 0.

    Notes
    -----
    ``repeated`` is what no rule prevents: the same id and payload stored more than once because the deliveries lay
    further apart than ``streams.duplicate_window_hours``. It is reported, not a fault. So are batches ``in_flight``:
    in a table, and not yet in the ledger, which is written last. ``removed`` rows went by an erasure, a withdrawal or
    retention, and are not missed; while one of these runs the check may see the table without them and not yet the note.
    """
    ledger = read_table(spark, settings, "ledger").cache()
    ledger.count()  # read before the tables: what is written meanwhile is in flight
    ensure_tables(spark, settings, ("removals",))  # a lake of an older version has none
    for table in STORED:
        settle(spark, settings, table)
    removed = removed_rows(spark, settings).cache()
    tables = {name: read_table(spark, settings, name) for name in STORED}
    try:
        accepted = (
            tables["events"]
            .select("event_id", "payload_hash")
            .unionByName(tables["late_events"].select("event_id", "payload_hash"))
        )
        return {
            **_sums(ledger),
            **_offset_faults(ledger),
            **_table_faults(ledger, tables, removed),
            "in_two_tables": _positions_in_two(tables),
            "repeated": accepted.count() - accepted.distinct().count(),
            "removed": sum(row.removed for row in removed.select("removed").collect()),
        }
    finally:
        removed.unpersist()
        ledger.unpersist()


FAULTS = ("imbalance", "unaccounted_offsets", "offset_gaps", "offset_overlaps", "wrong_tables", "in_two_tables")
"""What must be 0: batches whose fates do not add up to what they consumed; batches with other than one message per
offset; offsets that no batch, or two, of one checkpoint covers; batches of which a table holds another number of rows
than the ledger says less those removed; Kafka positions in more than one table."""


def _sums(ledger: DataFrame) -> dict[str, int]:
    fates = sum((F.col(fate) for fate in FATES), F.lit(0))
    sums = [F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in ("consumed", *FATES, "reused_ids")]
    imbalance = F.count_if(F.col("consumed") != fates).alias("imbalance")
    row = ledger.agg(F.count(F.lit(1)).alias("batches"), *sums, imbalance).first()
    return row.asDict() if row else {}


def _offset_faults(ledger: DataFrame) -> dict[str, int]:
    """Compare each batch's offsets with its count, and with the batch before it on the same partition."""
    batches = ledger.where("offsets IS NOT NULL")
    width = F.aggregate(
        "offsets", F.lit(0).cast("long"), lambda total, part: total + part["until_offset"] - part["from_offset"]
    )
    before = Window.partitionBy("query", "generation", "topic", "kafka_partition").orderBy("batch_id")
    parts = batches.select("query", "generation", "batch_id", F.inline("offsets"))
    step = F.col("from_offset") - F.lag("until_offset").over(before)
    steps = parts.withColumn("step", step)

    def offsets(condition: Column) -> Column:
        return F.coalesce(F.sum(F.when(condition, F.abs("step"))), F.lit(0))

    row = steps.agg(
        offsets(F.col("step") > 0).alias("offset_gaps"), offsets(F.col("step") < 0).alias("offset_overlaps")
    ).first()
    return {"unaccounted_offsets": batches.where(width != F.col("consumed")).count(), **(row.asDict() if row else {})}


def _table_faults(ledger: DataFrame, tables: dict[str, DataFrame], removed: DataFrame) -> dict[str, int]:
    """Compare how many rows of each batch the ledger and the tables know, those `removed` counted as there.

    A batch that is newer than its query's last in the ledger is being written, or its restart will finish it.
    """
    counts = [removed.select(*BATCH_KEY, "fate", F.col("removed").alias("stored"))]
    counts += [tables[name].select(*BATCH_KEY, F.lit(name).alias("fate"), F.lit(1).alias("stored")) for name in STORED]
    stored = reduce(DataFrame.unionAll, counts).groupBy(*BATCH_KEY, "fate").agg(F.sum("stored").alias("stored"))
    fates = F.array(*[F.struct(F.lit(name).alias("fate"), F.col(name).alias("told")) for name in STORED])
    told = ledger.select(*BATCH_KEY, F.inline(fates))
    last = ledger.groupBy("query", "generation").agg(F.max("batch_id").alias("last"))
    joined = told.join(stored, on=[*BATCH_KEY, "fate"], how="full_outer")
    compared = joined.join(F.broadcast(last), on=["query", "generation"], how="left")
    is_new = F.col("batch_id") > F.coalesce("last", F.lit(-1))
    is_wrong = F.coalesce("told", F.lit(0)) != F.coalesce("stored", F.lit(0))
    batch = F.struct(*BATCH_KEY)
    row = compared.agg(
        F.count_if(is_wrong & ~is_new).alias("wrong_tables"), F.count_distinct(F.when(is_new, batch)).alias("in_flight")
    ).first()
    return row.asDict() if row else {}


def _positions_in_two(tables: dict[str, DataFrame]) -> int:
    """Count Kafka positions found more than once; a replayed quarantine row has left it."""
    position = ["topic", "kafka_partition", "kafka_offset"]
    left = tables["quarantine"].where("replayed_at IS NULL").select(*position)
    rows = left.unionByName(tables["events"].select(*position)).unionByName(tables["late_events"].select(*position))
    return rows.groupBy(*position).count().where("count > 1").count()
