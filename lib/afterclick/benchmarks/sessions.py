"""The session operator with all of its state, to Spark's ``noop`` sink, against ``session_window`` with like aggregates.

Both are streams over the same files, one file a batch, from a checkpoint of their own.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.benchmarks.interleaved import compare_ways
from afterclick.local.jars import default_cache_dir, spark_jars
from afterclick.schemas import EVENT, LINE_ITEM
from afterclick.sessions import items_value, read_operator, sessionize
from afterclick.settings import Settings
from afterclick.spark_session import build_spark

BATCHES = 6
SPAN_SECONDS = 3 * 3600
"""Event time of all batches: sessions open, grow and close."""
_VIEWS, _CARTS = 0.85, 0.7
"""Share of views of all, of carts of the rest."""


def measure(settings: Settings, *, announce: Callable[[str], None], quick: bool = False) -> dict[str, Any]:
    """Return events a second of both; `without_triggers`: of sessions alone, which is all that `session_window` makes."""
    events, runs = (10_000, 1) if quick else (600_000, 3)
    spark = build_spark(
        "bench sessions", {**settings.spark, "spark.master": "local[2]"}, jars=spark_jars(default_cache_dir())
    )
    operator = read_operator(settings)
    try:
        with TemporaryDirectory(prefix="afterclick-bench-sessions-") as folder:
            files = Path(folder) / "events"
            announce(f"writing {events:,} events in {BATCHES} files")
            _write(spark, files, events)
            announce(f"{runs} runs of each")
            ours = {
                name: partial(_run, spark, files, partial(sessionize, operator=one))
                for name, one in (("whole", operator), ("without_triggers", operator._replace(rules_path=None)))
            }
            plain = partial(_run, spark, files, partial(session_windows, gap_minutes=settings.sessions.gap_minutes))
            compared = compare_ways(ours, plain, runs=runs)
    finally:
        spark.stop()
    per_second = {name: round(events / one["measured_s"]) for name, one in compared.items()}
    whole, alone = compared["whole"], compared["without_triggers"]
    return {
        "measured": per_second["whole"],
        "baseline": round(events / whole["baseline_s"]),
        **{name: whole[name] for name in ("ratio", "runs", "spread", "baseline_spread")},
        "without_triggers": {
            "measured": per_second["without_triggers"],
            **{name: alone[name] for name in ("ratio", "spread")},
        },
        "events": events,
    }


def session_windows(events: DataFrame, *, gap_minutes: float) -> DataFrame:
    """Return Spark's own sessions with the aggregates that it can make of ours."""
    watched = events.withWatermark("event_at", "10 minutes").withColumn("value", items_value())
    of_type = {kind: F.count_if(F.col("event_type") == kind) for kind in ("view", "cart", "purchase")}
    return watched.groupBy(F.session_window("event_at", f"{round(gap_minutes * 60)} seconds"), "subject_id").agg(
        F.count(F.lit(1)).alias("event_count"),
        *[count.alias(kind) for kind, count in of_type.items()],
        *[F.sum(F.when(F.col("event_type") == kind, F.col("value"))).alias(f"{kind}_value") for kind in of_type],
        F.sum("dwell_ms").alias("dwell_ms"),
        F.max("scroll_percent").alias("scroll_percent"),
        F.collect_set(F.col("items")[0]["item_id"]).alias("items"),
        F.min_by("page_path", "event_at").alias("entry_page"),
        F.min_by("campaign", "event_at").alias("campaign"),
        F.min_by("device", "event_at").alias("device"),
    )


def _run(spark: SparkSession, files: Path, work: Callable[[DataFrame], DataFrame]) -> None:
    rows = spark.readStream.schema(EVENT).option("maxFilesPerTrigger", 1).parquet(str(files))
    with TemporaryDirectory(prefix="afterclick-bench-checkpoint-") as checkpoint:
        writer = work(rows).writeStream.format("noop").option("checkpointLocation", checkpoint)
        query = writer.trigger(availableNow=True).start()
        query.awaitTermination()


def _write(spark: SparkSession, files: Path, events: int) -> None:
    """Write events of a person for every fifteen, in order of time; no file's draws are those of another."""
    begins_at = int(time.time()) - SPAN_SECONDS
    part = events // BATCHES
    for number in range(BATCHES):
        rows = spark.range(number * part, (number + 1) * part, numPartitions=1).select(
            "id", *_columns(events, begins_at, seed=10 * number)
        )
        named = {field.name: F.lit(None).cast(field.dataType) for field in EVENT if field.name not in rows.columns}
        rows.withColumns(named).select(*EVENT.names).write.mode("append").parquet(str(files))


def _columns(events: int, begins_at: int, *, seed: int) -> list[Any]:
    """Return an event's columns; draws are `seed` and a few above it: the same ones would have everybody see the same again."""
    at = F.timestamp_seconds(F.lit(begins_at) + F.col("id") * (SPAN_SECONDS / events))
    kind = F.when(F.rand(seed + 1) < _VIEWS, "view").when(F.rand(seed + 2) < _CARTS, "cart").otherwise("purchase")
    item = F.struct(
        F.concat(F.lit("item-"), (F.rand(seed + 3) * 50_000).cast("int")).alias("item_id"),
        F.lit(1).cast(LINE_ITEM["quantity"].dataType).alias("quantity"),
        F.lit(2.5).cast(LINE_ITEM["price"].dataType).alias("price"),
    )
    return [
        F.concat(F.lit("e-"), F.col("id")).alias("event_id"),
        kind.alias("event_type"),
        F.sha2((F.rand(seed + 4) * (events / 15)).cast("int").cast("string"), 256).substr(1, 32).alias("subject_id"),
        at.alias("event_at"),
        at.alias("received_at"),
        F.array(item).alias("items"),
        F.concat(F.lit("/page/"), (F.rand(seed + 5) * 5_000).cast("int")).alias("page_path"),
        F.lit("mobile").alias("device"),
        F.array(F.lit("analytics"), F.lit("personalisation")).alias("consent"),
        F.to_date(at).alias("event_date"),
    ]
