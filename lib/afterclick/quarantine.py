"""The quarantine desk: which messages are kept aside, why, and their repaired copies."""

from datetime import datetime
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType

from afterclick.quarantine_fixes import Steps, repair


class Selection(NamedTuple):
    """Which rows of `schemas.QUARANTINED_EVENT` that were not replayed yet; a part left out does not select."""

    reasons: tuple[str, ...] = ()
    expectation: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def condition(self) -> str:
        """Return the selection as SQL: a replay writes it down before it begins."""
        columns = {"topic": self.topic, "kafka_partition": self.partition, "kafka_offset": self.offset}
        parts = [f"{name} = {_literal(value)}" for name, value in columns.items() if value is not None]
        if self.reasons:
            parts.append(f"arrays_overlap(reasons, array({', '.join(map(_literal, self.reasons))}))")
        if self.expectation:
            parts.append(f"exists(failed_expectations, told -> contains(told, {_literal(self.expectation)}))")
        if self.since:
            parts.append(f"quarantined_at >= {_literal(self.since)}")
        if self.until:
            parts.append(f"quarantined_at < {_literal(self.until)}")
        return " AND ".join(["replayed_at IS NULL", *parts])


def _literal(value: str | int | datetime) -> str:
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat()}'"
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def count_reasons(rows: DataFrame) -> DataFrame:
    """Return messages by reason, most frequent first; a message with two reasons counts for both."""
    exploded = rows.select(F.explode("reasons").alias("reason"), "quarantined_at")
    counted = exploded.groupBy("reason").agg(
        F.count(F.lit(1)).alias("messages"),
        F.min("quarantined_at").alias("first_at"),
        F.max("quarantined_at").alias("last_at"),
    )
    return counted.orderBy(F.desc("messages"), "reason")


def select_repaired(rows: DataFrame, steps: Steps) -> DataFrame:
    """Return raw messages as the Kafka source hands them over, repaired, at their own positions."""

    def repaired(value: bytearray | None) -> bytes | None:
        return repair(None if value is None else bytes(value), steps)

    value = F.udf(repaired, BinaryType())(F.col("raw_value")) if steps else F.col("raw_value")
    return rows.select(
        F.col("raw_key").alias("key"),
        value.alias("value"),
        "topic",
        F.col("kafka_partition").alias("partition"),
        F.col("kafka_offset").alias("offset"),
        F.col("kafka_at").alias("timestamp"),
    )
