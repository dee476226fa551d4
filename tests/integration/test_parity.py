"""The nightly report of parity on real Spark, Delta and MLflow: which versions, which people, and each pair once."""

import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlflow import MlflowClient
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables, model_registry
from afterclick.connectors.model_changes import record_change
from afterclick.holdout import as_histories
from afterclick.models import Model
from afterclick.parity import Pair, choose_pair, measure_parity
from afterclick.recommender import Recommender
from afterclick.settings import Settings, load_settings
from builders import NOW, make_model
from conftest import installation_variables
from jobs.import_history import import_log
from jobs.report_parity import read_people, report

ITEMS, PEOPLE = 40, 30
TRAINED_MS = int(NOW.timestamp() * 1000)


def turned(model: Model, version: str) -> Model:
    """Return the same model with its space turned and its items in another order."""
    rank, order = model.item_factors.shape[1], np.random.default_rng(5).permutation(ITEMS)
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(rank, rank))).Q
    return make_model(
        version=version,
        item_ids=model.item_ids[order],
        item_factors=(model.item_factors @ turn).astype(np.float32)[order],
        popularity=model.popularity[order],
    )


def visits() -> pa.Table:
    """Person n saw n % 8 + 1 items before the training, an hour apart, and one after it; the last three came no more."""
    rows = [
        (f"person-{person}", f"item-{(7 * person + step) % ITEMS}", NOW + timedelta(hours=step - person % 8))
        for person in range(PEOPLE)
        for step in range(person % 8 + (2 if person < PEOPLE - 3 else 0))
    ]
    columns: dict[str, Any] = {"subject_id": [row[0] for row in rows], "item_id": [row[1] for row in rows]}
    times = pa.array([row[2] for row in rows], pa.timestamp("us", "UTC"))
    return pa.table({**columns, "event_type": ["view"] * len(rows), "event_at": times})


@pytest.fixture(scope="module")
def shop(spark: SparkSession, _empty_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return settings under which half of the people judge, and lists of five; the visits are stored."""
    settings = load_settings("local", variables=installation_variables(tmp_path_factory.mktemp("parity")))
    shutil.copytree(_empty_tables, settings.storage.tables)
    import_log(spark, settings, visits(), digest="parity", purposes=["analytics", "personalisation"])
    promotion = settings.promotion.model_copy(update={"holdout_percent": 50, "list_length": 5})
    return settings.model_copy(update={"promotion": promotion})


@pytest.fixture(scope="module")
def client(shop: Settings) -> MlflowClient:
    """Open a registry with the served model, its turned copy, and a refused one."""
    opened = model_registry.open_registry(shop)
    old = make_model(items=ITEMS, version="old")
    for model, status in ((old, "passed"), (turned(old, "new"), "candidate"), (turned(old, "bad"), "refused")):
        model_registry.register_model(opened, shop, model, parameters={}, metrics={})
        model_registry.set_tags(opened, shop, model.version, {"status": status})
    model_registry.set_alias(opened, shop, model_registry.CHAMPION, "old")
    return opened


def test_the_pair_is_the_same_before_and_after_the_switch_and_leaves_the_refused_out(
    shop: Settings, client: MlflowClient
) -> None:
    assert choose_pair(client, shop) == ("old", "new")
    assert choose_pair(client, shop, retrained="bad") == ("old", "bad")

    record_change(client, shop, "promote", left="old", served="new")
    model_registry.set_alias(client, shop, model_registry.CHAMPION, "new")

    assert choose_pair(client, shop) == ("old", "new")
    assert choose_pair(client, shop, served="bad") == ("bad", "new")


def test_there_is_no_pair_with_one_model_that_followed_none(settings: Settings) -> None:
    opened = model_registry.open_registry(settings)

    assert choose_pair(opened, settings) is None

    registered = model_registry.register_model(opened, settings, make_model(), parameters={}, metrics={})
    model_registry.set_champion(opened, settings, registered)
    assert choose_pair(opened, settings) is None


def test_a_turned_model_is_at_parity_and_a_pair_is_written_once(
    spark: SparkSession, shop: Settings, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="jobs.report_parity"):
        report(spark, shop)
    report(spark, shop)

    rows = delta_tables.read_table(spark, shop, "parity").collect()
    bins = {(row.grouped_by, row.bin): row for row in rows}
    assert len(bins) == len(rows)
    everybody = bins["all", "all"]
    assert (everybody.served_version, everybody.retrained_version) == ("old", "new")
    assert everybody.since.replace(tzinfo=UTC) == NOW
    assert everybody.people == PEOPLE - 3
    assert 0 < everybody.visits < PEOPLE - 3
    assert everybody.overlap == 1
    assert everybody.distance == pytest.approx(0, abs=1e-5)
    assert everybody.ndcg_gap == 0
    lengths = {label: row for (grouped_by, label), row in bins.items() if grouped_by == "history_length"}
    people = {
        label: row.people for label, row in lengths.items() if row.people
    }  # pseudonyms are drawn: who judges differs
    assert people == {"2-5": 15, "6-20": 12}
    assert sum(row.visits for row in lengths.values()) == everybody.visits
    assert bins["hours", "0-2"].people == PEOPLE - 3
    assert [line.message[:53] for line in caplog.records] == ["parity measured served=old retrained=new people=27 vi"]


def test_people_are_bounded_and_judges_come_first(spark: SparkSession, shop: Settings) -> None:
    everybody, judges = read_people(spark, shop, TRAINED_MS)
    few = shop.model_copy(update={"parity": shop.parity.model_copy(update={"max_people": 4})})
    some, judging = read_people(spark, few, TRAINED_MS)

    assert len(everybody) == PEOPLE - 3
    assert len(some) == 4
    assert set(some) == judging <= judges
    assert all(some[subject].records.tolist() == everybody[subject].records.tolist() for subject in some)


def test_another_model_is_apart_and_judged_by_what_was_wanted_next(settings: Settings) -> None:
    rules = settings.promotion.model_copy(update={"list_length": 5})
    ours = settings.model_copy(update={"promotion": rules})
    rows = visits()
    times = [int(at.replace(tzinfo=UTC).timestamp() * 1000) for at in rows["event_at"].to_pylist()]
    histories = as_histories(rows.append_column("event_ms", pa.array(times)))
    one, other = (make_model(items=ITEMS, seed=seed, version=f"v{seed}") for seed in (1, 2))
    pair = Pair(*(Recommender(model, settings.recommendations) for model in (one, other)))

    found = measure_parity(pair, histories, set(histories), ours)

    everybody = found[0]
    assert everybody.people == len(histories)
    assert everybody.visits == sum(len(history.records) > 1 for history in histories.values())
    assert everybody.overlap is not None
    assert 0 < everybody.overlap < 0.5
    assert everybody.distance is not None
    assert everybody.distance > 0.5
    assert measure_parity(pair, {}, (), ours) == []
    assert datetime.fromisoformat(one.trained_at) == NOW
