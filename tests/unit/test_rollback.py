"""The replayed week: a sabotaged champion is caught at the next look, a healthy one is left alone."""

import numpy as np
import pytest

from afterclick.benchmarks.rollback import measure, shuffle_items
from afterclick.setting_sections import RecommendationSettings, RelevanceSettings
from afterclick.settings import Settings
from builders import make_model
from nightly import NIGHTLY


def test_shuffle_items_keeps_every_item_and_moves_most() -> None:
    model = make_model(items=50)

    shuffled = shuffle_items(model, 1)

    assert sorted(shuffled.item_ids) == sorted(model.item_ids)
    assert (shuffled.item_ids != model.item_ids).mean() > 0.9
    assert not np.array_equal(shuffled.item_keys, model.item_keys)


def test_a_replayed_day_catches_the_sabotaged_champion_and_spares_the_healthy_one(settings: Settings) -> None:
    small = settings.model.model_copy(update={"rank": 16, "iterations": 5})
    quick = RelevanceSettings(min_visits=40)

    found = measure(small, RecommendationSettings(), quick, announce=lambda _: None, days=1, households=500)

    assert (found["false_rollbacks"], found["sabotage_caught"]) == (0, 1)
    day = found["days"][0]
    assert 40 <= day["sabotaged"]["requests"] <= day["visits"]
    assert day["sabotaged"]["minutes"] % 30 == 0
    assert day["hit_rates"]["sabotaged"] < 0.5 * day["hit_rates"]["champion"]


@NIGHTLY
@pytest.mark.timeout(1800)
def test_a_replayed_week_has_no_false_rollback_and_catches_every_sabotage_within_a_day(settings: Settings) -> None:
    found = measure(settings.model, settings.recommendations, settings.relevance, announce=lambda _: None)

    assert found["visits"] > 2_500
    assert (found["false_rollbacks"], found["sabotage_caught"]) == (0, 7)
    assert found["requests_affected"]["most"] < 500
