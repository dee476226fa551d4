"""Events -> one row per item, joined with the newest catalogue and customers."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.consent_filter import has_consent
from afterclick.schemas_dimensions import ENRICHED_ITEM
from afterclick.vocabulary import Purpose

ITEM_COLUMNS = {"item_name": "name", "category": "category", "list_price": "price", "in_stock": "in_stock"}
"""Columns of an enriched row by column of the catalogue."""


def enrich_events(events: DataFrame, items: DataFrame, customers: DataFrame) -> DataFrame:
    """Return rows of `schemas_dimensions.ENRICHED_ITEM`; an item that the catalogue lacks is kept and marked.

    Parameters
    ----------
    events
        Rows of `schemas.EVENT`.
    items, customers
        `schemas_dimensions.ITEM`, unique by `item_id`, and `CUSTOMER`, unique by `subject_id`: neither multiplies rows.
    """
    exploded = events.select("*", F.posexplode("items").alias("position", "item"))
    lines = exploded.withColumns({name: F.col(f"item.{name}") for name in ("item_id", "quantity", "price")})
    known = items.select(
        "item_id",
        F.lit(True).alias("_known"),
        *[F.col(theirs).alias(f"_{ours}") for ours, theirs in ITEM_COLUMNS.items()],
    )
    people = customers.select(F.col("subject_id").alias("_subject_id"), "segment", "region")
    is_theirs = (F.col("subject_id") == F.col("_subject_id")) & has_consent(Purpose.PERSONALISATION)
    joined = lines.join(known, on="item_id", how="left").join(people, on=is_theirs, how="left")
    columns = {
        **{name: F.col(f"_{name}") for name in ITEM_COLUMNS},
        "is_item_known": F.coalesce("_known", F.lit(False)),
        "position": F.col("position").cast("long"),
    }
    return joined.select(*[columns.get(name, F.col(name)).alias(name) for name in ENRICHED_ITEM.names])
