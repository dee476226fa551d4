"""A comparison of blends: everybody's list is their own side's, whoever else is in the batch."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from afterclick.blend import SOURCES, single_source_blend
from afterclick.comparison import NO_COMPARISON, Comparison
from afterclick.connectors.redis_store import StoredHistory
from afterclick.recommender import Recommender, session_records
from afterclick.serving_settings import BlendSettings, BucketSettings, ServingSettings
from afterclick.setting_sections import RecommendationSettings
from builders import make_model, make_sources, places

PEOPLE = [f"{number:032x}" for number in range(40)]


@pytest.fixture
def recommender() -> Recommender:
    return Recommender(make_model(items=20, sources=make_sources(items=20)), RecommendationSettings())


def histories() -> list[StoredHistory]:
    draw = np.random.default_rng(3)
    viewed = [draw.choice(20, size=draw.integers(0, 6), replace=False) for _ in PEOPLE]
    return [StoredHistory(session_records([f"item-{item}" for item in items])) for items in viewed]


def comparison(**sides: Any) -> Comparison:
    return Comparison.of(ServingSettings(port=0, buckets={name: BucketSettings(**one) for name, one in sides.items()}))


def test_everybody_gets_the_list_of_their_own_side_in_their_own_place(recommender: Recommender) -> None:
    compared = comparison(learned={"share": 1}, popular={"share": 1, "blend": BlendSettings(popularity=1)})
    popular = recommender.by_blend(single_source_blend("popularity"))

    lists = compared.lists(recommender, PEOPLE, histories(), 0)

    sides = [compared.side_of(person) for person in PEOPLE]
    assert set(sides) == {"learned", "popular"}
    alone = {"learned": recommender, "popular": popular}
    for side, history, top in zip(sides, histories(), lists, strict=True):
        (expected,) = alone[str(side)].lists([history], 0)
        assert places(top) == places(expected)
    assert [places(top) for top in popular.lists(histories(), 0)] != [
        places(top) for top in recommender.lists(histories(), 0)
    ]


def test_another_blend_leaves_the_recommender_as_it_was(recommender: Recommender) -> None:
    before = [places(top) for top in recommender.lists(histories(), 0)]

    other = recommender.by_blend(single_source_blend("popularity"))

    assert [places(top) for top in recommender.lists(histories(), 0)] == before
    assert other.basis is recommender.basis


@pytest.mark.parametrize("compared", [NO_COMPARISON, comparison(one={"share": 1}, two={"share": 1, "explore": 0.1})])
def test_lists_are_the_models_when_no_side_has_a_blend(recommender: Recommender, compared: Comparison) -> None:
    assert compared.lists(recommender, PEOPLE, histories(), 0) == recommender.lists(histories(), 0)


def test_a_model_without_sources_lists_by_fold_in_on_any_side() -> None:
    bare = Recommender(make_model(items=20), RecommendationSettings())
    compared = comparison(only={"share": 1, "blend": BlendSettings(popularity=1)})

    assert compared.lists(bare, PEOPLE, histories(), 0) == bare.lists(histories(), 0)


def test_nobody_gets_no_list(recommender: Recommender) -> None:
    compared = comparison(only={"share": 1, "blend": BlendSettings(trend=1)})

    assert compared.lists(recommender, [], [], 0) == []


def test_the_settings_name_the_sources_of_the_blend() -> None:
    assert tuple(BlendSettings.model_fields) == SOURCES


@pytest.mark.parametrize("weights", [{}, {"fold_in": 0}, {"fold_in": -1}, {"luck": 1}], ids=str)
def test_a_blend_without_a_source_or_with_an_unknown_one_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=r"weight above 0|greater than or equal to 0|luck"):
        BlendSettings.model_validate(weights)
