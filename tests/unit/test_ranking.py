"""Lists: best first, ties by item order, exclusions last."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterclick import ranking
from afterclick.ranking import longest_first, popular_top_n, rank_products, top_n
from afterclick.sequences import Cells


@given(
    n_items=st.integers(1, 400),
    n=st.integers(1, 30),
    first=st.integers(1, 400),
    block=st.integers(1, 400),
    terms=st.integers(0, 2),
    tail=st.sampled_from([0, 1, 4]),
    seed=st.integers(0, 2**16),
)
def test_rank_products_equals_a_full_sort_wherever_a_block_and_the_search_end(
    *, n_items: int, n: int, first: int, block: int, terms: int, tail: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    people = np.array([[1, 0], [2, 0], [0, 1], [0, 0], [-1, 0.5]], np.float32)
    vectors = np.stack([draw.permutation(n_items) * 8.0, draw.permutation(n_items) * 8.0], axis=1)
    vectors //= draw.integers(1, 40, (n_items, 1)) ** tail  # the longer the tail, the sooner the search ends
    added = [some_cells(draw, len(people), n_items, value) for value in (0.5, 2.25)[:terms]]
    excluded = draw.integers(0, len(people), n_items // 2), draw.integers(0, n_items, n_items // 2)

    with mock.patch.multiple(ranking, _FIRST=first, _BLOCK=block):
        ranked = rank_products(people, longest_first(vectors), n, added=added, excluded=excluded)

    scores = (people @ vectors.T).astype(float)
    for cells in added:
        scores[cells.people, cells.items] += cells.values
    scores[excluded] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    expected = np.take_along_axis(scores, best, axis=1)
    assert (-np.sort(-ranked.scores, axis=1) == expected).all()
    assert (np.take_along_axis(scores, ranked.items, axis=1) == ranked.scores).all()
    assert all(len(set(items)) == len(items) for items in ranked.items.tolist())


def test_rank_products_looks_at_no_block_whose_longest_item_is_too_short() -> None:
    vectors = np.full((100, 1), 1e-3)
    vectors[40:45] = [[1], [2], [3], [4], [5]]
    catalogue = longest_first(vectors)
    catalogue.vectors[10:] = np.nan
    followed = Cells(np.array([0, 0]), np.array([7, 41]), np.array([0.5, 9.0]))

    with mock.patch.multiple(ranking, _FIRST=5, _BLOCK=5):
        alone = rank_products(np.ones((1, 1), np.float32), catalogue, 5)
        with_others = rank_products(np.ones((1, 1), np.float32), catalogue, 5, added=[followed])

    assert sorted(alone.items[0].tolist()) == [40, 41, 42, 43, 44]
    assert dict(zip(with_others.items[0].tolist(), with_others.scores[0].tolist(), strict=True)) == {
        40: 1, 41: 11, 42: 3, 43: 4, 44: 5,
    }  # fmt: skip


def test_an_item_far_down_is_listed_where_what_is_added_makes_it_one_of_the_best() -> None:
    vectors = np.array([[5.0], [4], [3], [2], [1]])
    followed = Cells(np.array([0, 1]), np.array([4, 3]), np.array([3.5, 1.0]))
    again = Cells(np.array([0, 1]), np.array([4, 3]), np.array([1.0, 0.5]))
    excluded = np.array([1]), np.array([0])

    with mock.patch.multiple(ranking, _FIRST=2, _BLOCK=2):
        ranked = rank_products(
            np.ones((2, 1), np.float32), longest_first(vectors), 2, added=[followed, again], excluded=excluded
        )

    scores = [
        dict(zip(items, values, strict=True)) for items, values in zip(*map(np.ndarray.tolist, ranked), strict=True)
    ]
    assert scores == [{4: 5.5, 0: 5.0}, {1: 4.0, 3: 3.5}]


def some_cells(draw: np.random.Generator, people: int, items: int, value: float) -> Cells:
    of_people, of_items = np.nonzero(draw.random((people, items)) < 0.2)
    return Cells(of_people, of_items, np.full(len(of_people), value))


def test_rank_products_lists_no_excluded_item_while_others_remain() -> None:
    columns = np.array([[1], [0.5], [2]], np.float32)

    ranked = rank_products(
        np.ones((1, 1), np.float32), longest_first(columns), 2, excluded=(np.array([0]), np.array([2]))
    )

    assert sorted(ranked.items[0].tolist()) == [0, 1]


def test_rank_products_of_no_items_is_a_list_of_none() -> None:
    assert rank_products(np.ones((2, 2), np.float32), longest_first(np.ones((0, 2))), 0).items.shape == (2, 0)


def test_rank_products_lists_all_when_n_exceeds_the_items() -> None:
    assert rank_products(np.ones((1, 2), np.float32), longest_first(np.ones((4, 2))), 99).items.shape == (1, 4)


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
