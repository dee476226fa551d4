"""Recent activity in Delta and Redis: windows, decay, categories, consent."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables, redis_store
from afterclick.connectors.activity_store import ActivityStore
from afterclick.models import save_model
from afterclick.schemas import EVENT
from afterclick.served_model import model_folder
from afterclick.settings import Settings
from builders import make_model
from jobs.aggregate_activity import aggregate

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def event(name: str, age: timedelta, who: str = "ada", kind: str = "view", **more: Any) -> tuple[Any, ...]:
    at = NOW - age
    row = {
        "event_id": name, "event_type": kind, "subject_id": who, "event_at": at, "received_at": at,
        "items": [("mug", 1, 2.0)], "consent": ["analytics", "personalisation"], "event_date": at.date(),
    } | more  # fmt: skip
    return tuple(row.get(field) for field in EVENT.names)


def test_aggregate_counts_windows_with_decay_repeats_nothing_and_shows_what_is_active_to_strangers(
    spark: SparkSession, live: Settings
) -> None:
    delta_tables.ensure_tables(spark, live)
    minute, hour = timedelta(minutes=1), timedelta(hours=1)
    rows = [
        event("e1", timedelta(0)),
        event("e2", 30 * minute),
        event("e3", 2 * hour - timedelta(microseconds=1)),
        event("e4", 24 * hour),
        event("e5", -minute),
        event("e6", 2 * hour, "bob", "purchase", consent=["analytics"]),
        event("e8", minute, "eve", items=[("item-1", 1, 2.0), ("of another shop", 1, 2.0)], consent=["analytics"]),
        event("e7", minute, "bob", items=[("mug", 1, 2.0), ("cup", 1, 2.0), ("mug", 2, 2.0)], consent=["analytics"]),
    ]
    delta_tables.append_once(spark.createDataFrame(rows, EVENT), live, query="test", table="events", batch_id=0)
    items = spark.createDataFrame([("mug", "kitchen"), ("cup", "kitchen")], "item_id string, category string")
    delta_tables.append_once(items, live, query="test", table="items", batch_id=0)

    before_a_model = aggregate(spark, live, now=NOW)
    save_model(make_model(items=30), model_folder(live, "v1"))
    lists = redis_store.connect(live.redis)
    lists.switch_version("v1")
    counts = [before_a_model, aggregate(spark, live, now=NOW)]

    store = ActivityStore(live.redis)
    ada, bob = store.read("person", ["ada", "bob"])
    mug, kitchen = store.read("item", ["mug"])[0], store.read("category", ["kitchen"])[0]
    windows = ("events_30m", "events_2h", "events_24h")
    assert [ada["view"][name] for name in windows] == [1, 3, 3]
    assert ada["view"]["events_decayed"] == pytest.approx(1 + 2**-0.25 + 0.5)
    assert bob == {}
    assert [mug["view"][name] for name in windows] == [2, 4, 4]
    assert mug["purchase"]["events_decayed"] == pytest.approx(0.5)
    assert [mug["purchase"][name] for name in windows] == [0, 0, 1]
    assert kitchen["view"]["events_30m"] == 3
    popular = lists.read_popular("v1")
    assert popular is not None
    assert [item.item_id for item in popular.items[:3]] == ["item-1", "item-0", "item-2"]
    assert counts[0] == counts[1] == delta_tables.read_table(spark, live, "activity").count()
