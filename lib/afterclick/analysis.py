"""What analysts ask of the tables: small frames for the notebooks in ``notebooks/``, on Databricks and locally alike.

Every function takes tables by `Lake.table` and returns a Spark DataFrame of few rows; none names a person.
"""

from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.connectors.delta_tables import read_table
from afterclick.event_fates import FATES
from afterclick.settings import Settings, load_settings

_STEPS = {"viewed": "view_count", "added to cart": "cart_count", "ordered": "purchase_count"}


@dataclass(frozen=True)
class Lake:
    """The tables of one installation."""

    spark: SparkSession
    settings: Settings

    def table(self, name: str) -> DataFrame:
        """Return the newest snapshot of a table of `schemas.TABLES`."""
        return read_table(self.spark, self.settings, name)


def open_lake(spark: SparkSession | None = None, environment: str | None = None) -> Lake:
    """Return the tables that the settings name.

    Parameters
    ----------
    spark
        The session of a managed notebook (Databricks has one); None starts a local one.
    environment
        ``conf/<environment>.yaml``; None: the variable ``AFTERCLICK_ENVIRONMENT``, else local.
    """
    settings = load_settings(environment)
    if spark is None:
        from afterclick.local.jars import default_cache_dir, spark_jars  # noqa: PLC0415 - not on a cluster
        from afterclick.spark_session import build_spark  # noqa: PLC0415

        spark = build_spark("notebook", settings.spark, jars=spark_jars(default_cache_dir()))
    return Lake(spark, settings)


def events_by_day(events: DataFrame) -> DataFrame:
    """Return ``event_date, event_type, events, people``."""
    counted = events.groupBy("event_date", "event_type").agg(
        F.count(F.lit(1)).alias("events"), F.count_distinct("subject_id").alias("people")
    )
    return counted.orderBy("event_date", "event_type")


def visit_funnel(sessions: DataFrame) -> DataFrame:
    """Return ``step, visits, share`` of visits that came as far as each step, whatever they left out before."""
    reached = F.lit(0)
    for place, column in enumerate(_STEPS.values(), 1):
        reached = F.when(F.col(column) > 0, place).otherwise(reached)
    steps = F.array(
        *[F.struct(F.lit(n).alias("place"), F.lit(s).alias("step")) for n, s in enumerate(("any", *_STEPS))]
    )
    told = sessions.select(reached.alias("reached"), F.inline(steps)).where("place <= reached")
    counted = told.groupBy("place", "step").agg(F.count(F.lit(1)).alias("visits"))
    return _with_share(counted, "visits", of=F.col("place") == 0).orderBy("place").select("step", "visits", "share")


def visits_by(sessions: DataFrame, column: str) -> DataFrame:
    """Return ``<column>, visits, minutes, pages, bounced, ordered, order_value`` by device, campaign or entry page.

    Notes
    -----
    ``minutes`` and ``pages`` are medians; ``bounced`` and ``ordered`` shares of the visits with one event and with an
    order; ``order_value`` is a sum.
    """
    return (
        sessions.groupBy(F.coalesce(column, F.lit("unknown")).alias(column))
        .agg(
            F.count(F.lit(1)).alias("visits"),
            F.median(F.col("duration_ms") / 60_000).alias("minutes"),
            F.median("page_count").alias("pages"),
            _share(F.col("event_count") == 1).alias("bounced"),
            _share(F.col("purchase_count") > 0).alias("ordered"),
            F.sum("order_value").alias("order_value"),
        )
        .orderBy(F.desc("visits"), column)
    )


def session_checks(sessions: DataFrame, unsessioned: DataFrame) -> DataFrame:
    """Return ``check, rows`` of what should be rare: events after their session closed, cut sessions, overlaps."""
    by_person = "PARTITION BY subject_id ORDER BY started_at, session_id"
    overlap = F.expr(f"started_at <= lag(ended_at) OVER ({by_person})")
    counted = sessions.withColumn("overlaps", overlap).agg(
        F.count_if("overlaps").alias("sessions that overlap"),
        F.count_if(F.col("uncounted_items") > 0).alias("sessions with more items than are counted"),
        F.count_if(F.col("estimated_event_count") > F.col("event_count")).alias("sampled sessions"),
    )
    late = unsessioned.agg(F.count(F.lit(1)).alias("events after their session was closed"))
    return late.crossJoin(counted).unpivot([], [*late.columns, *counted.columns], "check", "rows")


def fates_by_day(ledger: DataFrame) -> DataFrame:
    """Return ``day, consumed, events, late_events, quarantine, no_consent, duplicates`` by the day of writing."""
    sums = [F.sum(name).alias(name) for name in ("consumed", *FATES)]
    return ledger.groupBy(F.to_date("written_at").alias("day")).agg(*sums).orderBy("day")


def quarantine_reasons(quarantine: DataFrame) -> DataFrame:
    """Return ``reason, messages, replayed``; a message with two reasons counts for both."""
    told = quarantine.select(F.explode("reasons").alias("reason"), F.col("replayed_at").isNotNull().alias("again"))
    counted = told.groupBy("reason").agg(F.count(F.lit(1)).alias("messages"), F.count_if("again").alias("replayed"))
    return counted.orderBy(F.desc("messages"), "reason")


def consent_by_purpose(events: DataFrame) -> DataFrame:
    """Return ``purpose, people, share`` of those with stored events, by what their newest event allows."""
    newest = events.groupBy("subject_id").agg(F.max_by("consent", F.struct("received_at", "event_id")).alias("consent"))
    everybody = newest.select(
        "subject_id", F.explode(F.array_insert("consent", 1, F.lit("(anybody)"))).alias("purpose")
    )
    counted = everybody.groupBy("purpose").agg(F.count(F.lit(1)).alias("people"))
    return _with_share(counted, "people", of=F.col("purpose") == "(anybody)").orderBy("purpose")


def stored_span(tables: dict[str, DataFrame]) -> DataFrame:
    """Return ``table, rows, oldest, newest`` by `received_at`, to compare with the retention in the settings."""
    parts = [
        rows.agg(
            F.lit(name).alias("table"),
            F.count(F.lit(1)).alias("rows"),
            F.min("received_at").alias("oldest"),
            F.max("received_at").alias("newest"),
        )
        for name, rows in tables.items()
    ]
    return reduce(DataFrame.unionByName, parts).orderBy("table")


def _share(condition: Column) -> Column:
    return F.avg(condition.cast("double"))


def _with_share(counted: DataFrame, column: str, *, of: Column) -> DataFrame:
    """Add the column's value over that of the one row where `of` holds."""
    whole = counted.where(of).select(F.col(column).alias("_whole"))
    return counted.crossJoin(F.broadcast(whole)).withColumn("share", F.col(column) / F.col("_whole")).drop("_whole")
