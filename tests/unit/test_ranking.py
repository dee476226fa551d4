"""Lists: best first, ties by item order, exclusions last."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterclick import ranking
from afterclick.ranking import cut_columns, popular_top_n, rank_products, top_n
from afterclick.sequences import Cells


@given(
    n_items=st.integers(1, 400),
    n=st.integers(1, 30),
    block=st.integers(1, 400),
    times=st.integers(1, 3),
    order=st.sampled_from(["any", "rising", "falling"]),
    seed=st.integers(0, 2**16),
)
def test_rank_products_equals_a_full_sort_wherever_a_block_ends(
    *, n_items: int, n: int, block: int, times: int, order: str, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    places = {"any": draw.permutation(n_items), "rising": np.arange(n_items), "falling": np.arange(n_items)[::-1]}[
        order
    ]
    rows, columns = np.array([[1, 0], [2, 0], [0, 1]], np.float32), np.zeros((n_items, 2), np.float32)
    columns[:, 0], columns[:, 1] = places * 8, draw.permutation(n_items) * 8
    added = [some_cells(draw, len(rows), n_items, value) for value in (0.5, 2.25)[:times]]
    excluded = draw.integers(0, len(rows), n_items // 2), draw.integers(0, n_items, n_items // 2)

    with mock.patch.object(ranking, "_BLOCK", block), mock.patch.object(ranking, "_KEPT", times):
        ranked = rank_products(rows, cut_columns(columns), n, added=added, excluded=excluded)

    scores = (rows @ columns.T).astype(float)
    for cells in added:
        scores[cells.people, cells.items] += cells.values
    scores[excluded] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    expected = np.take_along_axis(scores, best, axis=1)
    assert (-np.sort(-ranked.scores, axis=1) == expected).all()
    assert (np.take_along_axis(scores, ranked.items, axis=1) == ranked.scores).all()
    assert all(len(set(items)) == len(items) for items in ranked.items.tolist())


def some_cells(draw: np.random.Generator, people: int, items: int, value: float) -> Cells:
    of_people, of_items = np.nonzero(draw.random((people, items)) < 0.2)
    return Cells(of_people, of_items, np.full(len(of_people), value))


def test_rank_products_lists_no_excluded_item_while_others_remain() -> None:
    columns = np.array([[1], [0.5], [2]], np.float32)

    ranked = rank_products(
        np.ones((1, 1), np.float32), cut_columns(columns), 2, excluded=(np.array([0]), np.array([2]))
    )

    assert sorted(ranked.items[0].tolist()) == [0, 1]


def test_rank_products_lists_all_when_n_exceeds_the_items() -> None:
    assert rank_products(np.ones((1, 2), np.float32), cut_columns(np.ones((4, 2))), 99).items.shape == (1, 4)


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
