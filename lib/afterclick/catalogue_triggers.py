"""Triggers that follow from a change of the catalogue: a lower price, or an item that is back."""

from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from afterclick.consent_filter import has_consent
from afterclick.schemas_sessions import TRIGGER_FIRED
from afterclick.trigger_file import CatalogueChange, kind_of
from afterclick.vocabulary import EventType, Purpose

_ROUNDING = 1e-9
"""Percentage points by which a cut may miss its rule: 3.30 to 2.97 is 10 % but for the last bit."""


def find_catalogue_triggers(
    rule: CatalogueChange, *, before: DataFrame, after: DataFrame, events: DataFrame, fired: DataFrame, now: datetime
) -> DataFrame:
    """Return rows of `schemas_sessions.TRIGGER_FIRED`, one per person, due `now`, `batch_id` 0.

    Parameters
    ----------
    before, after
        Two snapshots of `schemas_dimensions.ITEM`, each unique by `item_id`.
    events
        Rows of `schemas.EVENT`.
    fired
        Earlier triggers, for the cooldown.

    Notes
    -----
    Concerned is who viewed the item or put it into the cart within ``rule.within``, has not bought it since, and allowed
    personalisation with their newest event in that time.
    """
    old = before.select("item_id", F.col("price").alias("_price"), F.col("in_stock").alias("_stock"))
    changed = after.join(old, on="item_id", how="inner").where(_has_changed(rule)).select("item_id")
    recent = events.where(F.col("event_at") > F.lit(now - timedelta(microseconds=rule.within)))
    allowed = recent.groupBy("subject_id").agg(F.max_by(has_consent(Purpose.PERSONALISATION), "event_at").alias("_may"))
    named = recent.select("subject_id", "event_type", "event_at", F.explode("items.item_id").alias("item_id"))
    concerned = named.join(F.broadcast(changed), on="item_id", how="left_semi")
    is_interest = F.col("event_type").isin(EventType.VIEW.value, EventType.CART.value)
    is_purchase = F.col("event_type") == EventType.PURCHASE.value
    last = concerned.groupBy("subject_id", "item_id").agg(
        F.max(F.when(is_interest, F.col("event_at"))).alias("_seen_at"),
        F.max(F.when(is_purchase, F.col("event_at"))).alias("_bought_at"),
    )
    wanted = last.where(
        F.col("_seen_at").isNotNull() & (F.col("_bought_at").isNull() | (F.col("_bought_at") < F.col("_seen_at")))
    )
    cooled = F.lit(now - timedelta(microseconds=rule.cooldown))
    resting = fired.where((F.col("rule") == rule.name) & (F.col("due_at") > cooled)).select("subject_id")
    people = wanted.join(allowed.where("_may"), on="subject_id", how="left_semi").join(
        resting, on="subject_id", how="left_anti"
    )
    newest_first = F.reverse(F.sort_array(F.collect_list(F.struct("_seen_at", "item_id"))))
    told = people.groupBy("subject_id").agg(newest_first.alias("_items"), F.max("_seen_at").alias("anchor_at"))
    return told.select(*[_trigger_columns(rule, now).get(n, F.col(n)).alias(n) for n in TRIGGER_FIRED.names])


def _has_changed(rule: CatalogueChange) -> Column:
    if rule.by_percent is None:
        return F.col("in_stock") & ~F.col("_stock")
    old, new = F.col("_price"), F.col("price")
    return (new < old) & ((old - new) * 100 >= (rule.by_percent - _ROUNDING) * old)


def _trigger_columns(rule: CatalogueChange, now: datetime) -> dict[str, Column]:
    due_us = round(now.timestamp() * 1e6)
    identity = F.concat_ws(":", F.lit(rule.name), F.col("subject_id"), F.lit(due_us))
    return {
        "trigger_id": F.substring(F.sha2(identity, 256), 1, 32),
        "rule": F.lit(rule.name),
        "rule_kind": F.lit(kind_of(rule)),
        "item_ids": F.transform("_items", lambda entry: entry["item_id"]),
        "due_at": F.lit(now),
        "fired_at": F.current_timestamp(),
        "batch_id": F.lit(0).cast("long"),
    }
