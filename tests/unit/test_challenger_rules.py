"""A challenger is told from the champion when it differs, hardly ever when it does not, and one person is one voice."""

import numpy as np
import pytest

from afterclick.challenger_rules import Outcome, compare_groups, compare_shadow, first_of_each
from afterclick.setting_sections import RelevanceSettings

RULES = RelevanceSettings()


def hits(rate: float, count: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < rate).astype(float)


@pytest.mark.parametrize(
    ("champion", "challenger", "outcome"),
    [(0.2, 0.35, Outcome.BETTER), (0.35, 0.2, Outcome.WORSE), (0.3, 0.3, Outcome.UNDECIDED)],
)
def test_compare_groups_decides_by_what_people_of_both_buckets_did(
    champion: float, challenger: float, outcome: Outcome
) -> None:
    found = compare_groups(hits(champion, 3_000, 1), hits(challenger, 3_000, 2), RULES)

    assert found.outcome is outcome
    assert found.difference == pytest.approx(challenger - champion, abs=0.03)
    assert (found.decided_after is None) == (outcome is Outcome.UNDECIDED)


def test_compare_groups_uses_as_many_people_of_a_large_bucket_as_the_small_one_has() -> None:
    champion, challenger = hits(0.2, 9_000, 1), hits(0.4, 1_000, 2)

    found = compare_groups(champion, challenger, RULES)

    assert found == compare_groups(champion[:1_000], challenger, RULES)
    assert found.compared == 1_000


def test_compare_groups_waits_for_the_minimum_however_clear_it_looks() -> None:
    count = RULES.min_visits - 1

    found = compare_groups(np.zeros(count), np.ones(count), RULES)

    assert found.outcome is Outcome.UNDECIDED
    assert f"{RULES.min_visits} wanted" in found.told


def test_compare_groups_says_nothing_without_people() -> None:
    found = compare_groups(np.zeros(0), np.zeros(7), RULES)

    assert (found.outcome, found.compared, found.evidence) == (Outcome.UNDECIDED, 0, 0.0)


def test_compare_groups_decides_between_equal_models_rarely_over_all_looks_together() -> None:
    draws = np.random.default_rng(7)
    loose = RULES.model_copy(update={"false_alarms": 0.01})
    decided = 0
    for _ in range(300):
        champion, challenger = (draws.random((2, 2_000)) < 0.3).astype(float)
        decided += compare_groups(champion, challenger, loose).decided_after is not None

    assert decided <= 8  # Ville: at most 3 in expectation, with room for chance


def test_compare_groups_keeps_a_decision_that_later_people_blur() -> None:
    """What was once certain stays so: the bound holds for the whole sequence, not for its last look."""
    misses, hits_all = np.zeros(300), np.ones(300)

    found = compare_groups(np.append(misses, hits_all), np.append(hits_all, misses), RULES)

    assert found.evidence < 0
    assert (found.outcome, found.decided_after) == (Outcome.BETTER, RULES.min_visits)


def test_compare_shadow_decides_where_groups_of_the_same_size_cannot_yet() -> None:
    """On the same visits most of the chance is shared: only visits on which one alone was right count."""
    champion = hits(0.3, 4_000, 1)
    challenger = np.maximum(champion, hits(0.06, 4_000, 2))

    shadow = compare_shadow(champion, challenger, RULES)
    groups = compare_groups(champion, np.roll(challenger, 1_000), RULES)

    assert (shadow.outcome, groups.outcome) == (Outcome.BETTER, Outcome.UNDECIDED)
    assert shadow.decided_after is not None
    assert shadow.decided_after < 1_000


def test_compare_shadow_refuses_hits_of_different_visits() -> None:
    with pytest.raises(ValueError, match="3 visits of the champion, 4 of the challenger"):
        compare_shadow(np.zeros(3), np.zeros(4), RULES)


def test_first_of_each_gives_every_person_one_voice() -> None:
    values = first_of_each(["ada", "bob", "ada", "cleo", "bob"], np.array([1.0, 0.0, 0.0, 1.0, 1.0]))

    assert values.tolist() == [1.0, 0.0, 1.0]


def test_first_of_each_of_nobody_is_empty() -> None:
    assert first_of_each([], np.zeros(0)).tolist() == []
