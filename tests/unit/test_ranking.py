"""Lists: best first, ties by item order, exclusions last."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterclick.ranking import popular_top_n, rank_top_n, top_n

ITEMS = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])


def test_rank_top_n_puts_the_best_first_and_breaks_ties_by_item() -> None:
    ranked = rank_top_n(np.array([[1.0, 0.0], [0.0, 1.0]]), ITEMS, 3)

    assert ranked.items.tolist() == [[3, 0, 2], [1, 0, 2]]
    assert ranked.scores[0].tolist() == [2.0, 1.0, 1.0]


def test_rank_top_n_lists_no_excluded_item_while_others_remain() -> None:
    excluded = (np.array([0, 0]), np.array([3, 0]))

    assert rank_top_n(np.array([[1.0, 0.0]]), ITEMS, 2, excluded=excluded).items.tolist() == [[2, 1]]


def test_rank_top_n_lists_all_when_n_exceeds_the_items() -> None:
    assert rank_top_n(np.ones((1, 2)), ITEMS, 99).items.shape == (1, 4)


def test_rank_top_n_equals_a_full_sort() -> None:
    draw = np.random.default_rng(5)
    users, items = draw.normal(size=(20, 6)), draw.normal(size=(300, 6))

    expected = np.argsort(-(users @ items.T), axis=1, kind="stable")[:, :10]

    assert (rank_top_n(users, items, 10).items == expected).all()


@given(n_items=st.integers(1, 3000), n=st.integers(1, 30), left_out=st.integers(0, 3000), seed=st.integers(0, 2**16))
def test_top_n_equals_a_full_sort_whatever_the_catalogue(n_items: int, n: int, left_out: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = np.stack([draw.permutation(n_items).astype(float) for _ in range(3)])
    scores[:, draw.integers(0, n_items, min(left_out, n_items - 1))] = -np.inf

    ranked = top_n(scores, n)

    best = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    shown = np.isfinite(
        np.take_along_axis(scores, best, axis=1)
    )  # which of the left out fill up the rest is not defined
    assert (ranked.items[shown] == best[shown]).all()
    assert (ranked.scores == np.take_along_axis(scores, best, axis=1)).all()


@pytest.mark.parametrize("times", [1, 2, 3, 4, 5, 15, 16, 17, 100])
def test_top_n_equals_a_full_sort_for_few_and_many_items_for_each_place(times: int) -> None:
    scores = np.random.default_rng(times).permutation(30.0 * times * np.arange(1, 30 * times + 1)).reshape(1, -1)

    assert (top_n(scores, 30).items == np.argsort(-scores, axis=1, kind="stable")[:, :30]).all()


def test_popular_top_n_scores_by_share() -> None:
    ranked = popular_top_n(np.array([1.0, 6.0, 3.0]), 2)

    assert ranked.items.tolist() == [[1, 2]]
    assert ranked.scores.tolist() == [[0.6, 0.3]]
