"""What becomes of a checked message: `events`, `late_events`, `quarantine`, `no_consent` or `duplicates`.

Every message of a batch gets exactly one fate, and the ledger's row says how many got which.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from afterclick.consent_filter import has_consent
from afterclick.event_clock import OffsetRange
from afterclick.quality import Suite
from afterclick.schemas import EVENT_MESSAGE, LATE_EVENT, STORED_EVENT
from afterclick.schemas_fates import LEDGER, QUARANTINED_EVENT
from afterclick.vocabulary import Purpose

FATES = ("events", "late_events", "quarantine", "no_consent", "duplicates")
STORED = FATES[:3]
"""Fates that are tables."""
BATCH_KEY = ("query", "generation", "batch_id")
"""The ledger's key."""
NO_FATES = dict.fromkeys(("consumed", *FATES, "reused_ids"), 0)
"""`count_fates` of a batch that holds nothing."""
_ACCEPTED = ("events", "late_events")
_OF_DELIVERY = {"event_at", "received_at", "ip_prefix", "device", "is_bot"}
_NOT_PAYLOAD = {"event_id", "consent", "rejected_reason"} | _OF_DELIVERY
_ARRIVAL = ("kafka_at", "topic", "kafka_partition", "kafka_offset")


class Batch(NamedTuple):
    """The name of a micro-batch: the ledger's key."""

    query: str
    generation: str
    batch_id: int


class Arrivals(NamedTuple):
    """What one pass over a batch finds: offsets by partition, and the receive times of its valid events."""

    ranges: list[OffsetRange]
    first_kafka_at: datetime | None
    last_kafka_at: datetime | None
    oldest_received_at: datetime | None


UNORDERED = Arrivals([], None, None, None)
"""Of messages that do not come in Kafka's order: there are no offsets to account for."""


def read_arrivals(checked: DataFrame) -> Arrivals:
    """Return what must be known of a batch before its fates: one row per Kafka partition comes to the driver."""
    is_valid = F.size("failed_rules") == 0
    rows = (
        checked.groupBy("topic", "kafka_partition")
        .agg(
            F.min("kafka_offset").alias("from_offset"),
            (F.max("kafka_offset") + 1).alias("until_offset"),
            F.max(F.when(is_valid, F.col("event_at"))).alias("newest_event_at"),
            F.min("kafka_at").alias("first_at"),
            F.max("kafka_at").alias("last_at"),
            F.date_trunc("hour", F.min(F.when(is_valid, F.col("received_at")))).alias("oldest_at"),
        )
        .collect()
    )
    ranges = [OffsetRange(*(_utc(row[name]) for name in OffsetRange._fields)) for row in rows]
    return Arrivals(
        sorted(ranges, key=lambda found: found.position),
        min((_utc(row.first_at) for row in rows), default=None),
        max((_utc(row.last_at) for row in rows), default=None),
        min((_utc(row.oldest_at) for row in rows if row.oldest_at), default=None),
    )


def flag_fates(
    timed: DataFrame, *, known: DataFrame | None, batch: Batch, known_bad: DataFrame | None = None
) -> DataFrame:
    """Add `fate`, `payload_hash` and `is_id_reused` to rows of `schemas.DECODED_EVENT`.

    Parameters
    ----------
    timed
        With `failed_rules` and `watermark_at`.
    known
        Accepted events of earlier batches within the window of duplicates (`connectors.accepted_events.read_known`);
        rows of `batch` itself, which an earlier attempt may have stored, are left out. None: there are none.
    known_bad
        Kafka positions in quarantine, unique, when an earlier checkpoint has read this batch's messages.
    """
    is_late = F.coalesce(F.col("event_at") < F.col("watermark_at"), F.lit(False))
    fate = (
        F.when(F.size("failed_rules") > 0, "quarantine")
        .when(~has_consent(Purpose.ANALYTICS), "no_consent")
        .when(is_late, "late_events")
        .otherwise("events")
    )
    flagged = timed.withColumns({"fate": fate, "payload_hash": payload_hash()})
    once = _flag_repeated(flagged)
    fates = once if known is None else _flag_known(once, known, batch)
    return fates if known_bad is None else _flag_known_bad(fates, known_bad)


def payload_hash() -> Column:
    """Return a hash of what an event says, without its times, its consent and what the connection tells.

    Notes
    -----
    The collector corrects a client's clock and looks at the connection anew at each delivery, so these differ between
    two deliveries of one event.
    """
    said = [name for name in EVENT_MESSAGE.names if name not in _NOT_PAYLOAD]
    return F.xxhash64(F.to_json(F.struct(*said)))


def _flag_repeated(flagged: DataFrame) -> DataFrame:
    """Within the batch: the same id and payload again is a duplicate, another payload is kept and marked."""
    kept = flagged.withColumn("_kept", F.col("fate").isin(*_ACCEPTED))
    by_id = Window.partitionBy("event_id", "_kept").orderBy(*_ARRIVAL)
    by_payload = Window.partitionBy("event_id", "_kept", "payload_hash").orderBy(*_ARRIVAL)
    numbered = kept.withColumn("_first", F.first("payload_hash").over(by_id)).withColumn(
        "_delivery", F.row_number().over(by_payload)
    )
    fate = F.when(F.col("_kept") & (F.col("_delivery") > 1), "duplicates").otherwise(F.col("fate"))
    is_reused = F.col("_kept") & (F.col("_first") != F.col("payload_hash"))
    marked = numbered.withColumns({"fate": fate, "is_id_reused": is_reused})
    return marked.drop("_kept", "_first", "_delivery")


def _flag_known(once: DataFrame, known: DataFrame, batch: Batch) -> DataFrame:
    """Against earlier batches: the same rule."""
    is_of_this_batch = (
        F.col("query").eqNullSafe(F.lit(batch.query))
        & F.col("generation").eqNullSafe(F.lit(batch.generation))
        & F.col("batch_id").eqNullSafe(F.lit(batch.batch_id))
    )
    earlier = known.where(~is_of_this_batch).select("event_id", F.col("payload_hash").alias("_known_hash"))
    wanted = once.where(F.col("fate").isin(*_ACCEPTED)).select("event_id").distinct()
    # The batch is the small side; `earlier` is only scanned. One row per id after the aggregation.
    met = earlier.join(F.broadcast(wanted), on="event_id", how="inner")
    hashes = met.groupBy("event_id").agg(F.collect_set("_known_hash").alias("_known_hashes"))
    joined = once.join(F.broadcast(hashes), on="event_id", how="left")
    is_accepted, is_known = F.col("fate").isin(*_ACCEPTED), F.col("_known_hashes").isNotNull()
    is_repeated = F.array_contains("_known_hashes", F.col("payload_hash"))
    fate = F.when(is_accepted & is_known & is_repeated, "duplicates").otherwise(F.col("fate"))
    is_reused = F.col("is_id_reused") | (is_accepted & is_known)
    return joined.withColumns({"fate": fate, "is_id_reused": is_reused}).drop("_known_hashes")


def _flag_known_bad(fates: DataFrame, known_bad: DataFrame) -> DataFrame:
    """Messages that an earlier checkpoint has put into quarantine are not put there twice."""
    position = ["topic", "kafka_partition", "kafka_offset"]
    joined = fates.join(known_bad.withColumn("_is_known", F.lit(True)), on=position, how="left")
    is_repeated = (F.col("fate") == "quarantine") & F.coalesce("_is_known", F.lit(False))
    fate = F.when(is_repeated, "duplicates").otherwise(F.col("fate"))
    return joined.withColumn("fate", fate).drop("_is_known")


def count_fates(fates: DataFrame) -> dict[str, int]:
    """Return the number of messages by fate, `consumed`, and accepted ones with a reused id."""
    sums = [F.count_if(F.col("fate") == name).alias(name) for name in FATES]
    reused = F.count_if(F.col("is_id_reused") & F.col("fate").isin(*_ACCEPTED)).alias("reused_ids")
    row = fates.agg(F.count(F.lit(1)).alias("consumed"), *sums, reused).first()
    return row.asDict() if row else {}


def select_parts(
    fates: DataFrame, counts: dict[str, int], arrivals: Arrivals, batch: Batch, suite: Suite
) -> Iterator[tuple[str, DataFrame]]:
    """Yield what to append to which table, in order; tables that get nothing are left out."""
    if counts["quarantine"]:
        yield "quarantine", select_quarantined(fates, suite, batch)
    if counts["events"]:
        yield "events", select_accepted(fates, "events", batch).repartition("event_date")  # one file a date
    if counts["late_events"]:
        yield "late_events", select_accepted(fates, "late_events", batch)
    yield "ledger", ledger_row(fates.sparkSession, counts, arrivals, batch)


def select_accepted(fates: DataFrame, fate: str, batch: Batch) -> DataFrame:
    """Return rows of `schemas.STORED_EVENT` for fate ``events``, of `schemas.LATE_EVENT` for ``late_events``."""
    rows = fates.where(F.col("fate") == fate).withColumns({"event_date": F.to_date("event_at"), **_origin(batch)})
    return rows.select(*(LATE_EVENT if fate == "late_events" else STORED_EVENT).names)


def select_quarantined(fates: DataFrame, suite: Suite, batch: Batch) -> DataFrame:
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
    told = F.create_map(*[F.lit(text) for rule in suite.rules for text in (rule.name, rule.expectation)])
    aside = fates.where(F.col("fate") == "quarantine").withColumns(
        {
            "reasons": reasons,
            "failed_expectations": F.transform("failed_rules", lambda name: told[name]),
            "quarantined_at": F.current_timestamp(),
            "replayed_at": F.lit(None).cast("timestamp"),
            "replay_fate": F.lit(None).cast("string"),
            **_origin(batch),
        }
    )
    return aside.select(*QUARANTINED_EVENT.names)


def ledger_row(spark: SparkSession, counts: dict[str, int], arrivals: Arrivals, batch: Batch) -> DataFrame:
    """Return the one row of `schemas.LEDGER` that accounts for a batch."""
    row: dict[str, Any] = {
        **counts,
        **batch._asdict(),
        "offsets": arrivals.ranges or None,
        "first_kafka_at": arrivals.first_kafka_at,
        "last_kafka_at": arrivals.last_kafka_at,
        "written_at": datetime.now(UTC),
    }
    return spark.createDataFrame([tuple(row[name] for name in LEDGER.names)], LEDGER)


def _origin(batch: Batch) -> dict[str, Column]:
    return {
        "query": F.lit(batch.query),
        "generation": F.lit(batch.generation),
        "batch_id": F.lit(batch.batch_id).cast("long"),
    }


def _utc(value: Any) -> Any:
    """Spark hands out times without a zone, in UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
