"""What the status page says of one item: counted by hand from a small model."""

from dataclasses import replace

import numpy as np
import pytest

from afterclick.recommender import Recommender
from afterclick.serving.item_view import item_facts
from afterclick.settings import Settings
from builders import make_model, make_sources

FOLLOWED = replace(
    make_sources(items=4),
    followers=np.array([[1, 2], [-1, -1], [-1, -1], [-1, -1]], np.int32),
    follower_weights=np.array([[1, 3], [0, 0], [0, 0], [0, 0]], np.float32),
    follower_totals=np.array([8.0, 0, 0, 0]),
    trend=np.array([0.0, 5, 9, 9]),
)


@pytest.fixture
def recommender(settings: Settings) -> Recommender:
    return Recommender(make_model(items=4, sources=FOLLOWED), settings.recommendations)


def test_item_facts_are_ranks_and_shares_of_steps(recommender: Recommender) -> None:
    facts = item_facts(recommender, "item-0")

    assert facts
    assert (facts.popularity_rank, facts.trend_rank, facts.items) == (1, 4, 4)
    assert dict(facts.followers) == pytest.approx({"item-2": 3 / 8, "item-1": 1 / 8})
    assert [item_id for item_id, _ in facts.followers] == ["item-2", "item-1"]
    assert {item.item_id for item in facts.similar} == {"item-1", "item-2", "item-3"}


def test_equal_items_share_a_rank_and_nothing_follows_where_nothing_was_counted(recommender: Recommender) -> None:
    facts = [item_facts(recommender, item) for item in ("item-2", "item-3")]

    assert [(one.trend_rank, one.followers) for one in facts if one] == [(1, []), (1, [])]


def test_item_that_the_model_does_not_know_has_no_facts(recommender: Recommender) -> None:
    assert item_facts(recommender, "unicorn") is None


def test_model_without_sources_has_no_trend(settings: Settings) -> None:
    facts = item_facts(Recommender(make_model(items=4), settings.recommendations), "item-1")

    assert facts
    assert (facts.trend_rank, list(facts.followers)) == (None, [])
