"""What becomes of a checked message: `events`, `quarantine`, `no_consent` or `duplicates`.

Every message of a batch gets exactly one fate, and the ledger's row says how many got which.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from afterclick.consent_filter import has_consent
from afterclick.schemas import LEDGER, QUARANTINED_EVENT
from afterclick.settings import Settings
from afterclick.vocabulary import Purpose

FATES = ("events", "quarantine", "no_consent", "duplicates")


def flag_fates(checked: DataFrame, *, known: DataFrame, settings: Settings) -> DataFrame:
    """Add `fate` to rows of `schemas.DECODED_EVENT` with `failed_rules`.

    Parameters
    ----------
    known
        Accepted events of earlier batches, `schemas.EVENT`; only those received within
        ``streams.duplicate_window_hours`` before this batch are looked at. Unique by `event_id`.
    """
    failed = F.size("failed_rules") > 0
    fate = F.when(failed, "quarantine").when(~has_consent(Purpose.ANALYTICS), "no_consent").otherwise("events")
    first_fates = checked.withColumn("fate", fate)
    is_repeated = (F.col("fate") == "events") & (F.col("_arrival") > 1)
    arrival = Window.partitionBy("event_id", "fate").orderBy("kafka_at", "kafka_partition", "kafka_offset")
    numbered = first_fates.withColumn("_arrival", F.row_number().over(arrival))
    once = numbered.withColumn("fate", F.when(is_repeated, "duplicates").otherwise(F.col("fate"))).drop("_arrival")
    return _flag_known(once, known, settings.streams.duplicate_window_hours)


def _flag_known(once: DataFrame, known: DataFrame, window_hours: int) -> DataFrame:
    """Mark events whose id an earlier message with another Kafka position already brought."""
    oldest = once.agg(F.min("received_at").alias("oldest_at"))
    # One value to the driver: a literal bound lets Delta skip files by their statistics. Whole hours, so that batches
    # share their generated code.
    start_at = F.date_trunc("hour", F.col("oldest_at") - F.expr(f"INTERVAL {window_hours} HOURS"))
    bound = oldest.select(start_at).first()
    recent = known.where(F.col("received_at") >= F.lit(bound[0])) if bound and bound[0] else known.limit(0)
    earlier = recent.select(
        "event_id",
        F.struct("topic", "kafka_partition", "kafka_offset").alias("_position"),
    )
    wanted = once.where(F.col("fate") == "events").select("event_id", "topic", "kafka_partition", "kafka_offset")
    wanted = wanted.withColumn("_here", F.struct("topic", "kafka_partition", "kafka_offset"))
    # The batch is the small side; `earlier` is only scanned. `known` is unique by event_id.
    repeated = (
        earlier.join(F.broadcast(wanted.select("event_id", "_here")), on="event_id", how="inner")
        .where(~F.col("_position").eqNullSafe(F.col("_here")))
        .select(F.col("event_id"), F.lit("events").alias("fate"), F.lit(True).alias("_known"))
    )
    joined = once.join(F.broadcast(repeated), on=["event_id", "fate"], how="left")
    fate = F.when(F.coalesce("_known", F.lit(False)), "duplicates").otherwise(F.col("fate"))
    return joined.withColumn("fate", fate).drop("_known")


def count_fates(fates: DataFrame) -> dict[str, Any]:
    """Return the number of messages by fate, `consumed`, and the first and last Kafka time."""
    sums = [F.count_if(F.col("fate") == name).alias(name) for name in FATES]
    times = [F.min("kafka_at").alias("first_kafka_at"), F.max("kafka_at").alias("last_kafka_at")]
    row = fates.agg(F.count(F.lit(1)).alias("consumed"), *sums, *times).first()
    return row.asDict() if row else {}


def select_fate(fates: DataFrame, fate: str) -> DataFrame:
    """Keep the rows with one fate."""
    return fates.where(F.col("fate") == fate)


def select_quarantined(fates: DataFrame, query: str, batch_id: int) -> DataFrame:
    """Return rows of `schemas.QUARANTINED_EVENT` for the messages to keep aside.

    A message that is empty, not well formed or refused by the collector has that one reason: what
    else is missing in it follows from there.
    """
    rejected = F.concat(F.lit("collector:"), F.col("rejected_reason"))
    reasons = (
        F.when(F.col("raw_value").isNull(), F.array(F.lit("empty_value")))
        .when(~F.col("is_well_formed"), F.array(F.lit("malformed")))
        .when(F.col("rejected_reason").isNotNull(), F.array(rejected))
        .otherwise(F.col("failed_rules"))
    )
    aside = select_fate(fates, "quarantine").withColumns(
        {
            "reasons": reasons,
            "query": F.lit(query),
            "batch_id": F.lit(batch_id).cast("long"),
            "quarantined_at": F.current_timestamp(),
        }
    )
    return aside.select(*QUARANTINED_EVENT.names)


def ledger_row(spark: SparkSession, counts: Mapping[str, Any], query: str, generation: int, batch_id: int) -> DataFrame:
    """Return the one row of `schemas.LEDGER` that accounts for a batch."""
    row = {
        **counts,
        "query": query,
        "generation": str(generation),
        "batch_id": batch_id,
        "written_at": datetime.now(UTC),
    }
    return spark.createDataFrame([tuple(row[name] for name in LEDGER.names)], LEDGER)
