"""Histories as rows of a catalogue: order, recency and sums."""

import numpy as np

from afterclick.sequences import Sequences, as_confidences, last_items, take_sequences, weigh_recent, weigh_repeats

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


def test_weigh_repeats_counts_less_what_others_no_longer_ask_for() -> None:
    trend = np.array([0.0, 0.0, 0.99, 0.0, 0.24])
    plain = weigh_recent(TWO, half_life=np.inf)

    found = weigh_repeats(TWO, trend, half_life=np.inf, trend_power=0.5)
    same = weigh_repeats(TWO, trend, half_life=np.inf, trend_power=0.0)

    np.testing.assert_allclose(found.values, plain.values * np.sqrt(trend[plain.items] + 0.01))
    np.testing.assert_array_equal(same.values, plain.values)
