"""Events -> recent activity of people, items and categories, with the windows of `activity_rules`."""

from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from afterclick.activity_rules import HALF_LIFE_US, WINDOWS
from afterclick.consent_filter import has_consent
from afterclick.schemas_activity import ACTIVITY
from afterclick.vocabulary import Purpose


def count_activity(events: DataFrame, items: DataFrame, *, now: datetime) -> DataFrame:
    """Return rows of `schemas_activity.ACTIVITY` as of `now`.

    Parameters
    ----------
    events
        Rows of `schemas.EVENT`, unique by `event_id`. People without consent to personalisation count for items and
        categories only.
    items
        Rows of `schemas_dimensions.ITEM`, unique by `item_id`.
    """
    longest = timedelta(microseconds=max(WINDOWS.values()))
    recent = events.where((F.col("event_at") > F.lit(now - longest)) & (F.col("event_at") <= F.lit(now)))
    people = recent.where(has_consent(Purpose.PERSONALISATION)).withColumn("name", F.col("subject_id"))
    named = recent.withColumn("name", F.explode(F.array_distinct("items.item_id")))
    categories = items.where(F.col("category").isNotNull()).select(F.col("item_id").alias("name"), "category")
    in_category = named.join(F.broadcast(categories), on="name", how="inner").drop("name")
    parts = {"person": people, "item": named, "category": in_category.withColumnRenamed("category", "name")}
    counted = [_count(rows, kind, now) for kind, rows in parts.items()]
    return counted[0].unionByName(counted[1]).unionByName(counted[2])


def _count(rows: DataFrame, kind: str, now: datetime) -> DataFrame:
    age_us = F.lit(round(now.timestamp() * 1e6)) - F.unix_micros("event_at")
    sums: list[Column] = [F.count_if(age_us < span).alias(f"events_{window}") for window, span in WINDOWS.items()]
    sums.append(F.sum(F.pow(F.lit(2.0), -age_us / HALF_LIFE_US)).alias("events_decayed"))
    counted = rows.groupBy("name", "event_type").agg(*sums)
    return counted.withColumns({"kind": F.lit(kind), "counted_at": F.lit(now)}).select(*ACTIVITY.names)
