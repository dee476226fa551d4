"""A sabotaged champion on live traffic is rolled back by itself; a healthy one is left alone for a week."""

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables, model_registry, redis_store
from afterclick.connectors.model_changes import list_changes
from afterclick.connectors.version_pointer import VersionPointer
from afterclick.holdout import Hits, judge, visits_since
from afterclick.live_relevance import CHALLENGER_TAG, DRIFT_TAG, Measurement, note_drift
from afterclick.models import Model
from afterclick.promotion import switch
from afterclick.relevance_rules import judge_champion
from afterclick.settings import Settings
from afterclick.training import train
from jobs.import_history import import_log
from jobs.measure_relevance import measure

DAY = 86_400_000
logger = logging.getLogger(__name__)


def traffic(people: int, first_ms: int, steps: int, step_ms: int, seed: int) -> pa.Table:
    """Everybody buys things of one of four kinds of ten items, again and again; the same people for every seed."""
    draw = np.random.default_rng(seed)
    kind = np.repeat(np.arange(people) % 4, steps)
    items = [f"item-{10 * k + i}" for k, i in zip(kind, draw.integers(10, size=len(kind)), strict=True)]
    times = first_ms + np.tile(np.arange(steps), people) * step_ms + np.repeat(np.arange(people), steps)
    columns: dict[str, Any] = {
        "subject_id": [f"person-{n}" for n in np.repeat(np.arange(people), steps)],
        "item_id": items,
    }
    return pa.table({**columns, "event_type": ["purchase"] * len(items), "event_ms": times})


def trained(settings: Settings, rows: pa.Table, version: str) -> Model:
    weights = rows.group_by(["subject_id", "item_id"]).aggregate([([], "count_all")])
    weights = weights.rename_columns(["subject_id", "item_id", "weight"])
    rules = settings.model.model_copy(update={"rank": 8, "regularization": 0.1, "alpha": 5.0})  # a small shop
    return train(
        weights, rules, version=version, trained_at="", event_weights=settings.recommendations.event_weights
    ).model


def shuffled(model: Model, version: str) -> Model:
    ids = np.random.default_rng(0).permutation(model.item_ids)
    return Model(
        version=version, item_ids=ids, item_factors=model.item_factors, popularity=model.popularity,
        regularization=model.regularization, alpha=model.alpha, event_weights=model.event_weights, trained_at="",
    )  # fmt: skip


def serve(settings: Settings, model: Model) -> None:
    """Register and serve a model as if its gates had been passed."""
    client = model_registry.open_registry(settings)
    model_registry.register_model(client, settings, model, parameters={}, metrics={})
    model_registry.set_tags(client, settings, model.version, {"status": "passed"})
    VersionPointer(redis_store.connect(settings.redis)).announce(model.version)
    switch(client, settings, model.version)


def test_a_sabotaged_champion_is_rolled_back_by_itself_and_only_once(
    spark: SparkSession, live: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings = live.model_copy(update={"promotion": live.promotion.model_copy(update={"list_length": 5})})
    before = traffic(100, int(time.time() * 1000) - 9 * DAY, 6, DAY, seed=1)
    good = trained(settings, before, "good")
    serve(settings, good)
    serve(settings, shuffled(good, "sabotaged"))
    client = model_registry.open_registry(settings)
    model_registry.register_model(client, settings, replace(good, version="shadow"), parameters={}, metrics={})
    model_registry.set_alias(client, settings, model_registry.CHALLENGER, "shadow")
    after = traffic(100, int(time.time() * 1000) + 10, 6, 1000, seed=2)
    stamps = [
        datetime.fromtimestamp(ms / 1000, UTC)
        for ms in (*before["event_ms"].to_pylist(), *after["event_ms"].to_pylist())
    ]
    both = pa.concat_tables([before, after]).drop_columns(["event_ms"])
    log = both.append_column("event_at", pa.array(stamps, pa.timestamp("us", "UTC")))
    import_log(spark, settings, log, digest="live", purposes=["analytics", "personalisation"])

    begun = time.monotonic()
    with caplog.at_level(logging.INFO):
        reason = measure(spark, settings, act=True)
    logger.info("rolled back in %.1f s: %s", time.monotonic() - begun, reason)

    assert reason is not None
    assert "certain after" in reason
    assert redis_store.connect(settings.redis).served_version() == "good"
    newest = list_changes(client, settings)[0]
    assert (newest["action"], newest["left"], newest["served"]) == ("rollback", "sabotaged", "good")
    told = model_registry.find_version(client, settings, "shadow").tags[CHALLENGER_TAG]
    assert told.startswith("challenger better: hit rate")
    rows = {row.role: row for row in delta_tables.read_table(spark, settings, "relevance").collect()}
    assert rows["control"].hit_rate > 2 * rows["champion"].hit_rate
    assert rows["champion"].visits == 600
    assert measure(spark, settings, act=True) is None
    assert redis_store.connect(settings.redis).served_version() == "good"


@pytest.mark.parametrize(("more", "told"), [(-1, ""), (0, "popularity_psi 0.90 > 0.25")], ids=["too_few", "enough"])
def test_drift_is_told_of_enough_visits_only(live: Settings, more: int, told: str) -> None:
    """Of a few events the index is large by chance, and would start a training."""
    serve(live, trained(live, traffic(60, 0, 4, 1000, seed=1), "good"))
    client, visits = model_registry.open_registry(live), live.relevance.min_visits + more
    champion = Measurement("champion", "good", visits, Hits(np.ones(1), np.ones(1)), 0.5, 0.0, popularity_psi=0.9)

    note_drift(client, live, [champion])

    assert model_registry.find_version(client, live, "good").tags.get(DRIFT_TAG, "") == told


def test_a_week_of_healthy_nightly_models_is_never_accused(live: Settings) -> None:
    from afterclick.recommendations import Recommender

    weekly = [traffic(200, day * DAY, 4, 3_600_000, seed=day) for day in range(12)]
    accused = []
    for day in range(5, 12):
        models = [trained(live, pa.concat_tables(weekly[: day - back]), f"m{day}-{back}") for back in (0, 1)]
        visits = visits_since(pa.concat_tables(weekly[: day + 1]), day * DAY, most=20_000, length=200)
        champion, control = (judge(Recommender(one, live.recommendations), visits, n=5).hit for one in models)
        verdict = judge_champion(champion, control, live.relevance)
        accused += [verdict.told] if verdict.certain_after else []
        assert len(visits) == 800

    assert accused == []
