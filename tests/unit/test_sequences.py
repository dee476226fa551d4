"""Histories as rows of a catalogue: order, recency and sums."""

from dataclasses import replace

import numpy as np
import pytest

from afterclick.sequences import (
    Sequences,
    as_confidences,
    last_items,
    repeat_rates,
    take_sequences,
    weigh_recent,
    weigh_repeats,
)
from afterclick.source_rules import SourceRules

TWO = Sequences(np.array([0, 3, 3, 5]), np.array([4, 2, 4, 1, 0]), np.array([1.0, 1.0, 1.0, 2.0, 1.0]))


def test_weigh_recent_halves_after_every_half_life_of_later_interactions() -> None:
    cells = weigh_recent(TWO, half_life=1.0)

    assert cells.people.tolist() == [0, 0, 2, 2]
    assert cells.items.tolist() == [2, 4, 0, 1]
    np.testing.assert_allclose(cells.values, [0.5, 1.25, 1.0, 1.0])


def test_weigh_recent_sums_plainly_when_the_half_life_is_infinite() -> None:
    np.testing.assert_allclose(weigh_recent(TWO, half_life=np.inf).values, [1.0, 2.0, 1.0, 2.0])


def test_as_confidences_keeps_people_without_interactions() -> None:
    confidences = as_confidences(weigh_recent(TWO, half_life=np.inf), 3, alpha=2.0, power=0.5)

    assert confidences.indptr.tolist() == [0, 2, 2, 4]
    np.testing.assert_allclose(confidences.values, [2.0, 2 * 2**0.5, 2.0, 2 * 2**0.5])


def test_last_items_are_newest_first_and_padded() -> None:
    assert last_items(TWO, 2).tolist() == [[4, 2], [-1, -1], [0, 1]]


def test_take_sequences_moves_the_bounds_of_every_person() -> None:
    kept = take_sequences(TWO.indptr, TWO.items, TWO.weights, np.array([False, True, True, False, True]))

    assert kept.indptr.tolist() == [0, 2, 2, 3]
    assert kept.items.tolist() == [2, 4, 0]


def test_weigh_repeats_counts_less_what_others_no_longer_ask_for_or_have_once_only() -> None:
    trend, rate = np.array([0.0, 0.0, 0.99, 0.0, 0.24]), np.array([1.0, 0.25, 0.5, 1.0, 0.16])
    plain = weigh_recent(TWO, half_life=np.inf)
    rules = SourceRules(repeat_half_life=np.inf)

    same = weigh_repeats(TWO, trend, rate, rules)
    by_trend = weigh_repeats(TWO, trend, rate, replace(rules, repeat_trend_power=0.5))
    by_rate = weigh_repeats(TWO, trend, rate, replace(rules, repeat_rate_power=0.5))

    np.testing.assert_array_equal(same.values, plain.values)
    np.testing.assert_allclose(by_trend.values, plain.values * np.sqrt(trend[plain.items] + 0.01))
    np.testing.assert_allclose(by_rate.values, plain.values * np.sqrt(rate[plain.items]))


def test_repeat_rates_follow_the_people_of_an_item_once_there_are_many() -> None:
    once, again = np.array([0, 980, 20]), np.array([0, 490, 0])  # of all 1,000: 49 %

    assert repeat_rates(once, again).tolist() == pytest.approx([0.49, (490 + 9.8) / 1000, 9.8 / 40])
