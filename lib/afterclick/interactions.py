"""Checked events -> interactions of people with items: what training and fold-in both learn from."""

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.consent_filter import has_consent
from afterclick.histories import EVENT_TYPE_CODES
from afterclick.schemas import INTERACTION, INTERACTION_WEIGHT
from afterclick.vocabulary import Purpose


def select_interactions(events: DataFrame) -> DataFrame:
    """Return rows of `schemas.INTERACTION`, one per item of an event whose person allows personalisation.

    It must allow analytics too, as the tables do: Redis holds nothing that cannot be rebuilt from them (decision 17).

    Parameters
    ----------
    events
        Rows of `schemas.EVENT`; event types without an item meaning are left out.
    """
    may_be_kept = has_consent(Purpose.ANALYTICS) & has_consent(Purpose.PERSONALISATION)
    allowed = events.where(may_be_kept & F.col("event_type").isin(*EVENT_TYPE_CODES))
    exploded = allowed.select("*", F.explode("items").alias("item")).select(
        "subject_id",
        F.col("item.item_id").alias("item_id"),
        "event_type",
        F.unix_millis("event_at").alias("event_ms"),
        F.unix_millis("received_at").alias("received_ms"),
    )
    return exploded.select(*INTERACTION.names)


def counted_types(event_weights: Mapping[str, float]) -> frozenset[str]:
    """Return the event types by which somebody wants an item."""
    return frozenset(name for name, weight in event_weights.items() if weight > 0)


def weigh_interactions(interactions: DataFrame, event_weights: Mapping[str, float]) -> DataFrame:
    """Return rows of `schemas.INTERACTION_WEIGHT`: the sum of weights by person and item, where it is positive.

    Notes
    -----
    One interaction is (person, item, event time, type), as in `histories`: a repeated one counts once.
    """
    weights = F.create_map(*[part for name, weight in event_weights.items() for part in (F.lit(name), F.lit(weight))])
    distinct = distinct_interactions(interactions)
    weighed = distinct.withColumn("weight", weights[F.col("event_type")]).where(F.col("weight") > 0)
    summed = weighed.groupBy("subject_id", "item_id").agg(F.sum("weight").alias("weight"))
    return summed.select(*INTERACTION_WEIGHT.names)


def distinct_interactions(interactions: DataFrame) -> DataFrame:
    """Return person, item, type and event time of rows of `schemas.INTERACTION`, each once."""
    return interactions.select("subject_id", "item_id", "event_type", "event_ms").distinct()
