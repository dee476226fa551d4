"""Lists on real Redis: interactions change them, repetitions do not, and a cache is rebuilt identical."""

import time
from typing import Any

import pyarrow as pa
import pytest
import redis
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables, redis_store
from afterclick.connectors.redis_store import Fence, RedisStore
from afterclick.connectors.subject_store import open_subject_store
from afterclick.list_updates import recompute_here
from afterclick.models import save_model
from afterclick.pseudonyms import RawId
from afterclick.recommendations import Reason, Recommender, update_lists
from afterclick.served_model import model_folder, read_recommender
from afterclick.settings import Settings
from builders import make_model, places
from jobs import update_recommendations, warm_cache
from jobs.import_history import import_log

NOW_MS = 1_000_000
FIRST = Fence(1, 0)


def interactions(*rows: tuple[str, str, str, int]) -> pa.Table:
    names = ("subject_id", "item_id", "event_type", "event_ms")
    columns: dict[str, Any] = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    kinds = {"subject_id": pa.string(), "item_id": pa.string(), "event_type": pa.string(), "event_ms": pa.int64()}
    table = pa.table({name: pa.array(values, kinds[name]) for name, values in columns.items()})
    return table.append_column("received_ms", table["event_ms"])


@pytest.fixture
def store(live: Settings) -> RedisStore:
    """Open a store that serves version v1 of a small model."""
    save_model(make_model(items=30), model_folder(live, "v1"))
    opened = redis_store.connect(live.redis)
    opened.switch_version("v1")
    return opened


def update(live: Settings, store: RedisStore, table: pa.Table, fence: Fence = FIRST) -> tuple[int, int]:
    recommender = read_recommender(live, "v1")
    result = update_lists(table, recommender, store, length=5, fence=fence, now_ms=NOW_MS)
    return result["written"][0].as_py(), result["fenced"][0].as_py()


def test_update_lists_lists_items_with_reason(live: Settings, store: RedisStore) -> None:
    assert update(live, store, interactions(("ada", "item-3", "purchase", 10), ("ada", "item-4", "view", 20))) == (1, 0)

    top = store.read_list("ada")[1]
    assert top is not None
    assert (top.source, top.fresh_as_of_ms, top.generated_at_ms) == ("fold_in", 20, NOW_MS)
    assert top.items[0].reason == "because_you_interacted"
    assert [item.score for item in top.items] == sorted((item.score for item in top.items), reverse=True)


def test_update_lists_gives_the_popular_list_when_the_model_knows_none_of_the_items(
    live: Settings, store: RedisStore
) -> None:
    update(live, store, interactions(("ada", "new-item", "view", 10)))

    top = store.read_list("ada")[1]
    assert top is not None
    assert (top.source, top.items[0].item_id) == ("popular", "item-0")


def test_update_lists_changes_nothing_when_a_batch_is_repeated_or_events_redelivered(
    live: Settings, store: RedisStore
) -> None:
    table = interactions(("ada", "item-3", "view", 10), ("ada", "item-4", "view", 20))
    update(live, store, table)
    first = store.read_histories(["ada"])[0], store.read_list("ada")

    update(live, store, table)
    update(live, store, table.slice(0, 1), Fence(1, 1))

    again = store.read_histories(["ada"])[0], store.read_list("ada")
    assert again[0].records.tobytes() == first[0].records.tobytes()
    assert again[1] == first[1]


def test_update_lists_keeps_the_most_recent_interactions_only(live: Settings, store: RedisStore) -> None:
    update(live, store, interactions(*[("ada", f"item-{n}", "view", n) for n in range(9)]))

    assert store.read_histories(["ada"])[0].records["event_ms"].tolist() == [4, 5, 6, 7, 8]


def test_update_lists_leaves_a_later_writer_s_list_alone(live: Settings, store: RedisStore) -> None:
    update(live, store, interactions(("ada", "item-3", "view", 10)), Fence(2, 0))

    assert update(live, store, interactions(("ada", "item-4", "view", 20)), Fence(1, 99)) == (0, 1)


def test_update_lists_merges_when_it_lost_a_race(live: Settings, store: RedisStore) -> None:
    class Racing(RedisStore):
        raced = False

        def write_lists(self, updates: Any) -> list[int]:
            if not self.raced:
                self.raced = True
                update(live, store, interactions(("ada", "item-9", "view", 5)))
            return super().write_lists(updates)

    racing = Racing(redis.Redis.from_url(live.redis.url.get_secret_value(), protocol=2), live.redis)
    update(live, racing, interactions(("ada", "item-3", "view", 10)))

    assert store.read_histories(["ada"])[0].records["event_ms"].tolist() == [5, 10]


def test_update_lists_excludes_seen_items_when_configured(live: Settings, store: RedisStore) -> None:
    rules = live.recommendations.model_copy(update={"exclude_seen": True})
    recommender = Recommender(make_model(items=30), rules)

    update_lists(interactions(("ada", "item-3", "view", 10)), recommender, store, length=5, fence=Fence(1, 0), now_ms=1)

    top = store.read_list("ada")[1]
    assert top is not None
    assert "item-3" not in {item.item_id for item in top.items}
    assert len(top.items) == 29


def test_recompute_here_puts_the_trigger_s_items_in_front_until_the_next_event(
    live: Settings, store: RedisStore
) -> None:
    update(live, store, interactions(("ada", "item-3", "cart", 10)))
    before = store.read_list("ada")[1]

    recompute_here({"ada": Reason("left carts", "cart_abandonment", ("item-3", "item-9"))}, settings=live)

    top = store.read_list("ada")[1]
    assert before is not None
    assert top is not None
    assert [(item.item_id, item.reason) for item in top.items[:2]] == [
        ("item-3", "cart_abandonment"),
        ("item-9", "cart_abandonment"),
    ]
    assert (top.trigger, len(top.items), before.trigger) == ("left carts", len(before.items), None)
    update(live, store, interactions(("ada", "item-4", "view", 20)), Fence(1, 1))
    again = store.read_list("ada")[1]
    assert again is not None
    assert again.trigger is None


@pytest.mark.parametrize("driver_rows", [1000, 0], ids=["on_the_driver", "on_executors"])
def test_write_lists_writes_the_same_wherever_it_runs(
    spark: SparkSession, live: Settings, store: RedisStore, driver_rows: int
) -> None:
    rules = live.recommendations.model_copy(update={"driver_rows": driver_rows})
    settings = live.model_copy(update={"recommendations": rules})
    table = interactions(("ada", "item-3", "purchase", 10), ("bob", "item-4", "view", 20))
    begun = int(time.time() * 1000)

    update_recommendations.write_lists(spark.createDataFrame(table), 0, settings=settings, generation=1)

    expected = read_recommender(live, "v1").lists(store.read_histories(["ada", "bob"]), begun)
    found = [store.read_list(name)[1] for name in ("ada", "bob")]
    assert [places(top) for top in found if top] == [places(top) for top in expected]


def test_warm_restores_histories_and_lists_identical_after_a_wipe(
    spark: SparkSession, live: Settings, store: RedisStore
) -> None:
    from datetime import UTC, datetime

    at = pa.array([datetime(2026, 10, 1, h, tzinfo=UTC) for h in (1, 2, 3)], pa.timestamp("us", "UTC"))
    log = pa.table(
        {
            "subject_id": ["ada", "ada", "bob"],
            "item_id": ["item-1", "item-2", "item-3"],
            "event_at": at,
            "event_type": ["view"] * 3,
        }
    )
    import_log(spark, live, log, digest="d", purposes=["analytics", "personalisation"])
    known = [open_subject_store(live).find(RawId("user", name)) for name in ("ada", "bob")]
    people = [person.subject_id for person in known if person]
    assert len(people) == 2

    def content() -> list[Any]:
        histories = [history.records.tobytes() for history in store.read_histories(people)]
        lists = [store.read_list(person)[1] for person in people]
        return [histories, [(top.items, top.fresh_as_of_ms, top.source) for top in lists if top]]

    assert warm_cache.warm(spark, live, "v1") == 2
    before = content()
    for key in store.client.scan_iter(live.redis.prefix.encode() + b"*"):
        store.client.delete(key)
    assert store.served_version() is None
    warm_cache.warm(spark, live, "v1")

    assert content() == before
    assert len(before[1]) == 2
    assert delta_tables.read_table(spark, live, "events").count() == 3
