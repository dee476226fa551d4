"""Lists that were shown, and what followed from them. DataFrame -> DataFrame."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.schemas_shown import SHOWN_LIST, SHOWN_MESSAGE


def decode_shown(raw: DataFrame) -> DataFrame:
    """Return rows of `schemas_shown.SHOWN_LIST` of Kafka's messages; what is none of the API's is left out."""
    message = F.from_json(F.col("value").cast("string"), SHOWN_MESSAGE).alias("shown")
    shown = raw.select(message).select("shown.*").withColumn("shown_at", F.timestamp_millis("shown_ms"))
    needed = [field.name for field in SHOWN_LIST if not field.nullable]
    return shown.dropna(subset=needed).select(*SHOWN_LIST.names)


def weigh_lists(shown: DataFrame, events: DataFrame) -> DataFrame:
    """Return lists and those that somebody followed, by model, source, placement and bucket.

    Parameters
    ----------
    shown
        Rows of `schemas_shown.SHOWN_LIST`; a repeated one counts once.
    events
        Rows of `schemas.EVENT`; an event follows from a list when it names the list and has an item of it.

    Returns
    -------
    DataFrame
        ``model_version, source, placement, bucket, lists, followed, click_through, weighed_clicks``: `weighed_clicks` is
        the sum of 1 / propensity over the items that were followed, Horvitz and Thompson's estimate of what all items
        that may stand at the places of these lists would have brought, had each stood at each.
    """
    lists = shown.dropDuplicates(["list_id"])
    placed = lists.select("list_id", F.explode("items").alias("place")).select(
        "list_id", "place.item_id", "place.propensity"
    )
    chosen = (
        events.where("list_id IS NOT NULL").select("list_id", F.explode("items.item_id").alias("item_id")).distinct()
    )
    followed = (
        placed.join(chosen, on=["list_id", "item_id"], how="left_semi")
        .groupBy("list_id")
        .agg(F.sum(1 / F.col("propensity")).alias("weighed"))
    )
    joined = lists.join(followed, on="list_id", how="left")  # `followed` has a list once
    grouped = joined.groupBy("model_version", "source", "placement", "bucket").agg(
        F.count("*").alias("lists"),
        F.count("weighed").alias("followed"),
        F.sum(F.coalesce("weighed", F.lit(0.0))).alias("weighed_clicks"),
    )
    with_share = grouped.withColumn("click_through", F.col("followed") / F.col("lists"))
    names = ("model_version", "source", "placement", "bucket", "lists", "followed", "click_through", "weighed_clicks")
    return with_share.select(*names)
