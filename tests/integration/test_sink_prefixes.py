"""Stopped after each prefix of its sinks and run again, a batch ends as if nothing had happened.

Redis here; `test_ingest_events` and `test_build_sessions` do the same for tables.
"""

import contextlib
from typing import Any

import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import redis_store
from afterclick.connectors.redis_store import RedisStore
from afterclick.crash_points import CrashPoint
from afterclick.models import save_model
from afterclick.served_model import model_folder
from afterclick.settings import Settings
from builders import make_model
from integration.test_update_recommendations import interactions
from jobs import update_recommendations


class Stopped(BaseException):
    """Stands in for SIGKILL: nothing below catches it."""


def test_lists_end_as_undisturbed_when_stopped_half_way_through_the_pipeline(
    spark: SparkSession, live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(make_model(items=30), model_folder(live, "v1"))
    table = interactions(*[(f"person-{n}", f"item-{n}", "view", n) for n in range(10)])
    undisturbed = live.model_copy(update={"redis": live.redis.model_copy(update={"prefix": live.redis.prefix + "u:"})})
    for each in (live, undisturbed):
        redis_store.connect(each.redis).switch_version("v1")
    update_recommendations.write_lists(spark.createDataFrame(table), 3, settings=undisturbed, generation=1)

    def write_half(self: RedisStore, updates: Any) -> list[int]:
        half_writer = RedisStore(self.client, self.settings, CrashPoint.HALF_PIPELINE)
        with monkeypatch.context() as patch:
            patch.setattr(redis_store, "crash_at", lambda *_: (_ for _ in ()).throw(Stopped))
            return write_lists(half_writer, updates)

    write_lists = RedisStore.write_lists
    with monkeypatch.context() as patch, contextlib.suppress(Stopped):
        patch.setattr(RedisStore, "write_lists", write_half)
        update_recommendations.write_lists(spark.createDataFrame(table), 3, settings=live, generation=1)
    people = [f"person-{n}" for n in range(10)]
    assert sum(len(h.records) > 0 for h in redis_store.connect(live.redis).read_histories(people)) == 5
    update_recommendations.write_lists(spark.createDataFrame(table), 3, settings=live, generation=1)

    found, wanted = (redis_store.connect(each.redis) for each in (live, undisturbed))
    for person in people:
        one, other = found.read_list(person)[1], wanted.read_list(person)[1]
        assert one
        assert other
        assert one.items == other.items
    histories = [store.read_histories(people) for store in (found, wanted)]
    assert [h.records.tobytes() for h in histories[0]] == [h.records.tobytes() for h in histories[1]]
