"""What becomes of a checked message: `events`, `late_events`, `quarantine`, `no_consent` or `duplicates`.

Every message of a batch gets exactly one fate, and the ledger's row says how many got which.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import reduce
from operator import and_
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from afterclick.consent_filter import has_consent
from afterclick.event_clock import Clocks, OffsetRange, with_watermark
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
POSITION = ("topic", "kafka_partition", "kafka_offset")
"""A message's key."""
_ARRIVAL = ("kafka_at", *POSITION)
_NARROW = (*_ARRIVAL, "event_id", "event_at", "payload_hash", "failed_rules", "fate")
_SMALL_BATCH = 20_000


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
    checked: DataFrame,
    *,
    clocks: Clocks | None,
    watermark_minutes: int,
    known: DataFrame | None,
    batch: Batch,
    known_bad: DataFrame | None = None,
) -> DataFrame:
    """Add `fate`, `watermark_at` and `is_id_reused` to rows of `schemas.DECODED_EVENT`.

    Parameters
    ----------
    checked
        With `failed_rules` and `payload_hash`; with `is_kept_out` where people may be.
    clocks, watermark_minutes
        As for `event_clock.with_watermark`.
    known
        Accepted events of earlier batches within the window of duplicates (`connectors.accepted_events.read_known`);
        rows of `batch` itself, which an earlier attempt may have stored, are left out. None: there are none.
    known_bad
        Kafka positions in quarantine, unique, when an earlier checkpoint has read this batch's messages.

    Notes
    -----
    Order and repetition are found in narrow rows, and only what differs by them is joined to the messages, which are
    neither sorted nor moved. That is a Spark job, of which a local checkpoint is left, not a plan: Delta throws what is
    persisted away once a table in its plan changes.
    """
    fate = (
        F.when(F.size("failed_rules") > 0, "quarantine")
        .when(~has_consent(Purpose.ANALYTICS), "no_consent")
        .otherwise("events")
    )
    is_out = F.col("is_kept_out") if "is_kept_out" in checked.columns else F.lit(False)
    first = checked.withColumn("fate", F.when(is_out, "no_consent").otherwise(fate))
    timed = with_watermark(first.select(*_NARROW), clocks, watermark_minutes=watermark_minutes)
    others = _late_or_repeated(timed, known, batch)
    if known_bad is not None:
        is_bad = timed.where("fate = 'quarantine'").join(known_bad, on=list(POSITION), how="left_semi")
        others = others.unionByName(
            is_bad.select(*POSITION, F.lit(True).alias("is_repeated")), allowMissingColumns=True
        )
    joined = first.join(F.broadcast(others.localCheckpoint()), on=list(POSITION), how="left")
    late = F.when(F.col("watermark_at").isNotNull(), "late_events").otherwise(F.col("fate"))
    return joined.withColumns(
        {
            "fate": F.when(F.col("is_repeated"), "duplicates").otherwise(late),
            "is_id_reused": F.coalesce("is_id_reused", F.lit(False)),
        }
    ).drop("is_repeated")


def with_payload_hash(checked: DataFrame) -> DataFrame:
    """Add `payload_hash`: of what an event says, without its times, its consent and what the connection tells.

    Notes
    -----
    The collector corrects a client's clock and looks at the connection anew at each delivery, so these differ between
    two deliveries of one event.
    """
    said = [name for name in EVENT_MESSAGE.names if name not in _NOT_PAYLOAD]
    return checked.withColumn("payload_hash", F.xxhash64(F.to_json(F.struct(*said))))


def _late_or_repeated(timed: DataFrame, known: DataFrame | None, batch: Batch) -> DataFrame:
    """Return the positions of accepted messages that are late, repeated, or have an id that another payload had before.

    The same id and payload again is a duplicate, another payload is kept and marked. `watermark_at` is null where a
    message is not late.
    """
    late = F.when(F.col("event_at") < F.col("watermark_at"), F.col("watermark_at"))
    accepted = timed.where("fate = 'events'").withColumn("watermark_at", late)
    rows = accepted.select("event_id", "payload_hash", *_ARRIVAL, "watermark_at", F.lit(True).alias("_is_new"))
    if known is not None:
        rows = rows.unionByName(_earlier(accepted, known, batch), allowMissingColumns=True)
    order = ("_is_new", *_ARRIVAL)
    by_id = Window.partitionBy("event_id").orderBy(*order)
    is_met, first = ~F.first("_is_new").over(by_id), F.first("payload_hash").over(by_id)
    delivery = F.row_number().over(Window.partitionBy("event_id", "payload_hash").orderBy(*order))
    marked = rows.withColumns({"is_repeated": delivery > 1, "is_id_reused": is_met | (first != F.col("payload_hash"))})
    others = marked.where("_is_new AND (is_repeated OR is_id_reused OR watermark_at IS NOT NULL)")
    return others.select(*POSITION, "watermark_at", "is_repeated", "is_id_reused")


def _earlier(accepted: DataFrame, known: DataFrame, batch: Batch) -> DataFrame:
    """Return ids and payloads of earlier batches that this one has again."""
    is_of_this_batch = reduce(and_, (F.col(name).eqNullSafe(F.lit(value)) for name, value in batch._asdict().items()))
    earlier = known.where(~is_of_this_batch).select("event_id", "payload_hash")
    # The batch is the small side; what is known is only scanned. Repeated ids do no harm and cost less than finding them.
    met = earlier.join(F.broadcast(accepted.select("event_id")), on="event_id", how="left_semi")
    return met.distinct().withColumn("_is_new", F.lit(False))


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
        rows = select_accepted(fates, "events", batch)
        yield "events", rows.repartition("event_date") if counts["events"] < _SMALL_BATCH else rows  # one file a date
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
