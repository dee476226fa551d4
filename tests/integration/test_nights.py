"""The steps of a night that `bench freshness` runs beside the streams, as processes of their own."""

import asyncio
from typing import Any

import pytest
from pyspark.sql import SparkSession

from afterclick.benchmarks import nights
from afterclick.connectors import model_registry, redis_store
from afterclick.errors import LocalStackError
from afterclick.settings import Settings
from builders import variables_of
from integration.test_train_model import walk
from jobs.import_history import import_log
from jobs.train_model import train_candidate
from jobs.warm_cache import warm
from nightly import NIGHTLY


@NIGHTLY
def test_the_candidate_of_the_night_is_warmed_and_takes_over(
    spark: SparkSession, live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: dict[str, Any] = {"rank": 8, "iterations": 3}
    few = {"promotion": live.promotion.model_copy(update={"min_holdout_people": 10})}
    small = live.model_copy(update=few | {"model": live.model.model_copy(update=changed)})
    for name, value in variables_of(small).items():
        monkeypatch.setenv(name, value)
    import_log(spark, small, walk(8_000, people=400), digest="walk", purposes=["analytics", "personalisation"])
    first = train_candidate(spark, small, "2026-11-24")
    model_registry.set_alias(model_registry.open_registry(small), small, model_registry.CHAMPION, first)
    warm(spark, small, first)

    candidate = nights.make_candidate(spark, small)
    took = asyncio.run(nights.serve_candidate(small))

    assert took.keys() == {"warm_cache_s", "switch_s"}
    assert candidate != first
    assert redis_store.connect(small.redis).served_version() == candidate


def test_a_step_that_fails_ends_the_night_with_its_code(live: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nights, "STEPS", {"broken": ("-c", "raise SystemExit(3)"), "never": ("-c", "")})

    with pytest.raises(
        LocalStackError, match=r"broken of the night ended with 3 beside the streams; .*/broken\.log says why"
    ):
        asyncio.run(nights.serve_candidate(live))
