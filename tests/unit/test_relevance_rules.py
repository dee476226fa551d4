"""A worse champion is found, an equal one never accused however often one looks, and shifts are measured."""

import numpy as np
import pytest

from afterclick.relevance_rules import judge_champion, popularity_shift, population_stability, sequential_evidence
from afterclick.setting_sections import RelevanceSettings

RULES = RelevanceSettings()


def hits(rate: float, count: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < rate).astype(float)


def test_judge_champion_finds_a_sabotaged_champion_and_says_after_how_many_visits() -> None:
    verdict = judge_champion(hits(0.05, 3000, 1), hits(0.3, 3000, 2), RULES)

    assert verdict.is_worse
    assert verdict.certain_after == RULES.min_visits
    assert verdict.drop == pytest.approx(0.83, abs=0.03)


def test_judge_champion_waits_for_the_minimum_evidence() -> None:
    count = RULES.min_visits - 1

    verdict = judge_champion(np.zeros(count), np.ones(count), RULES)

    assert (verdict.is_worse, verdict.certain_after) == (False, None)
    assert "on 199 visits" in verdict.told


def test_judge_champion_keeps_a_champion_that_is_a_little_worse() -> None:
    assert not judge_champion(hits(0.28, 20_000, 1), hits(0.30, 20_000, 2), RULES).is_worse


def test_judge_champion_keeps_a_better_champion() -> None:
    assert not judge_champion(hits(0.5, 3000, 1), hits(0.2, 3000, 2), RULES).is_worse


def test_judge_champion_says_nothing_without_visits() -> None:
    assert judge_champion(np.zeros(0), np.zeros(0), RULES).is_worse is False


def test_sequential_evidence_accuses_equal_models_rarely_over_all_looks_together() -> None:
    draws = np.random.default_rng(7)
    crossed = 0
    for _ in range(1000):
        one, other = (draws.random((2, 2000)) < 0.3).astype(float)
        crossed += bool((sequential_evidence(one, other) >= 2).any())

    assert crossed <= 20  # Ville: at most one in a hundred in expectation, with room for chance


def test_sequential_evidence_is_that_of_the_formula() -> None:
    """Three of three for the other: Beta(.5,.5) mixture B(3.5,.5)/B(.5,.5) = 5/16, a coin 1/8: ratio 2.5."""
    evidence = sequential_evidence(np.zeros(3), np.ones(3))

    assert evidence[-1] == pytest.approx(np.log10(2.5))


def test_population_stability_is_zero_for_equal_and_large_for_moved_counts() -> None:
    assert population_stability([100, 200, 300], [100, 200, 300]) == pytest.approx(0)
    assert population_stability([300, 200, 100], [100, 200, 300]) > 0.25


def test_population_stability_is_the_sum_of_the_definition() -> None:
    expected, found = np.array([0.6, 0.4]), np.array([0.3, 0.7])
    definition = float(((found - expected) * np.log(found / expected)).sum())

    assert population_stability([6e6, 4e6], [3e6, 7e6]) == pytest.approx(definition, rel=1e-4)


def test_popularity_shift_is_none_without_recent_items() -> None:
    assert popularity_shift(np.arange(9), np.zeros(0, np.int64)) == (0.0, 1.0)
    assert popularity_shift(np.arange(9), np.arange(100, 109))[0] == 1.0
