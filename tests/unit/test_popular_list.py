"""The list for people of whom nothing is known: what the blend makes of popularity and trend."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from afterclick.blend import CONTEXTS, SOURCES, Blend, Evidence, blend_scores
from afterclick.mixtures import Mixture, Mixtures
from afterclick.models import Model
from afterclick.popular_list import popular_list
from afterclick.sequences import Cells
from afterclick.source_rules import SourceRules
from builders import make_model, make_sources, places

ITEMS = 12
NO_CELLS = Cells(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def learned(trend: Any, /, **weights: float) -> Model:
    """Build a model whose blend has these weights for people of whom nothing is known, and others for all others."""
    rows = np.full((len(CONTEXTS), len(SOURCES)), 7.0)
    rows[CONTEXTS.index("none")] = [weights.get(source, 0.0) for source in SOURCES]
    mixture = Mixture(Blend(rows), SourceRules())
    sources = replace(make_sources(items=ITEMS), trend=np.asarray(trend, float), mixtures=Mixtures(mixture, mixture))
    return make_model(items=ITEMS, sources=sources)


def test_a_model_without_sources_lists_by_popularity() -> None:
    top = popular_list(make_model(items=3), 2, now_ms=5)

    assert places(top) == [("item-0", "popular"), ("item-1", "popular")]
    assert (top.source, top.generated_at_ms, top.model_version) == ("popular", 5, "v1")


def test_each_place_tells_whether_popularity_or_trend_brought_it() -> None:
    trend = np.eye(ITEMS)[7]

    assert places(popular_list(learned(trend, popularity=0.5, trend=1.0), 2, now_ms=0)) == [
        ("item-7", "trending"),
        ("item-0", "popular"),
    ]


@pytest.mark.parametrize("weights", [{"trend": 1.0}, {}, {"covisitation": 1.0}])
def test_popularity_orders_what_the_weights_leave_equal(weights: dict[str, float]) -> None:
    listed = [item for item, _ in places(popular_list(learned(np.zeros(ITEMS), **weights), 3, now_ms=0))]

    assert listed == ["item-0", "item-1", "item-2"]


def test_the_last_day_counts_beside_what_was_learned() -> None:
    model = learned(np.zeros(ITEMS), popularity=0.01)

    assert places(popular_list(model, 1, now_ms=0, recent=np.eye(ITEMS)[1] * 40)) == [("item-1", "popular")]
    assert places(popular_list(model, 1, now_ms=0, recent=np.eye(ITEMS)[0])) == [("item-0", "popular")]


@pytest.mark.parametrize("seed", range(20))
def test_strangers_are_served_what_the_evaluation_ranks_for_them(seed: int) -> None:
    draw = np.random.default_rng(seed)
    weights = {"popularity": draw.random() + 0.01, "trend": draw.random()}
    model = learned(draw.random(ITEMS), **weights)
    assert model.sources
    shares = [values / values.max() for values in (model.popularity, model.sources.trend)]
    evidence = Evidence(np.zeros((1, ITEMS)), NO_CELLS, NO_CELLS, *shares)
    blend = model.sources.mixtures.in_visit.blend
    expected = np.argsort(-blend_scores(evidence, blend.weights[:1])[0], kind="stable")

    listed = popular_list(model, ITEMS, now_ms=0).items

    assert [item.item_id for item in listed] == [f"item-{row}" for row in expected]
