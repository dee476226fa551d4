"""What becomes of a checked message: `events`, `late_events`, `quarantine`, `no_consent` or `duplicates`.

Every message of a batch gets exactly one fate, and the ledger's row says how many got which.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.arrived import Arrivals
from afterclick.consent_filter import has_consent
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
"""Counts of a batch that holds nothing."""
ACCEPTED = ("events", "late_events")
"""Fates of stored events; each is the name of its table."""
_OF_DELIVERY = {"event_at", "received_at", "ip_prefix", "device", "is_bot"}
_NOT_PAYLOAD = {"event_id", "consent", "rejected_reason"} | _OF_DELIVERY
POSITION = ("topic", "kafka_partition", "kafka_offset")
"""A message's key."""
_SMALL_BATCH = 20_000


class Batch(NamedTuple):
    """The name of a micro-batch: the ledger's key."""

    query: str
    generation: str
    batch_id: int


def with_first_fate(checked: DataFrame) -> DataFrame:
    """Add `fate` as far as a message's own contents say it: ``quarantine``, ``no_consent`` or ``events``.

    Parameters
    ----------
    checked
        Rows of `schemas.DECODED_EVENT` with `failed_rules`; with `is_kept_out` where people may be.
    """
    fate = (
        F.when(F.size("failed_rules") > 0, "quarantine")
        .when(~has_consent(Purpose.ANALYTICS), "no_consent")
        .otherwise("events")
    )
    is_out = F.col("is_kept_out") if "is_kept_out" in checked.columns else F.lit(False)
    return checked.withColumn("fate", F.when(is_out, "no_consent").otherwise(fate))


def with_payload_hash(checked: DataFrame) -> DataFrame:
    """Add `payload_hash`: of what an event says, without its times, its consent and what the connection tells.

    Notes
    -----
    The collector corrects a client's clock and looks at the connection anew at each delivery, so these differ between
    two deliveries of one event.
    """
    said = [name for name in EVENT_MESSAGE.names if name not in _NOT_PAYLOAD]
    return checked.withColumn("payload_hash", F.xxhash64(F.to_json(F.struct(*said))))


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
