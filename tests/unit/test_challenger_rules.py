"""A challenger is told from the champion when it differs, and hardly ever when it does not."""

import numpy as np
import pytest

from afterclick.challenger_rules import Outcome, compare_shadow
from afterclick.setting_sections import RelevanceSettings

RULES = RelevanceSettings()


def hits(rate: float, count: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < rate).astype(float)


@pytest.mark.parametrize(
    ("champion", "challenger", "outcome"),
    [(0.2, 0.35, Outcome.BETTER), (0.35, 0.2, Outcome.WORSE), (0.3, 0.3, Outcome.UNDECIDED)],
)
def test_compare_shadow_decides_by_what_people_did(champion: float, challenger: float, outcome: Outcome) -> None:
    found = compare_shadow(hits(champion, 3_000, 1), hits(challenger, 3_000, 2), RULES)

    assert found.outcome is outcome
    assert found.difference == pytest.approx(challenger - champion, abs=0.03)
    assert (found.decided_after is None) == (outcome is Outcome.UNDECIDED)


def test_compare_shadow_waits_for_the_minimum_however_clear_it_looks() -> None:
    count = RULES.min_visits - 1

    found = compare_shadow(np.zeros(count), np.ones(count), RULES)

    assert found.outcome is Outcome.UNDECIDED
    assert f"{RULES.min_visits} wanted" in found.told


def test_compare_shadow_says_nothing_without_visits() -> None:
    found = compare_shadow(np.zeros(0), np.zeros(0), RULES)

    assert (found.outcome, found.compared, found.evidence) == (Outcome.UNDECIDED, 0, 0.0)


def test_compare_shadow_decides_between_equal_models_rarely_over_all_looks_together() -> None:
    draws = np.random.default_rng(7)
    loose = RULES.model_copy(update={"false_alarms": 0.01})
    decided = 0
    for _ in range(300):
        champion, challenger = (draws.random((2, 2_000)) < 0.3).astype(float)
        decided += compare_shadow(champion, challenger, loose).decided_after is not None

    assert decided <= 8  # Ville: at most 3 in expectation, with room for chance


def test_compare_shadow_keeps_a_decision_that_later_visits_blur() -> None:
    """What was once certain stays so: the bound holds for the whole sequence, not for its last look."""
    misses, hits_all = np.zeros(300), np.ones(300)

    found = compare_shadow(np.append(misses, hits_all), np.append(hits_all, misses), RULES)

    assert found.evidence < 0
    assert (found.outcome, found.decided_after) == (Outcome.BETTER, RULES.min_visits)


def test_compare_shadow_refuses_hits_of_different_visits() -> None:
    with pytest.raises(ValueError, match="3 visits of the champion, 4 of the challenger"):
        compare_shadow(np.zeros(3), np.zeros(4), RULES)
