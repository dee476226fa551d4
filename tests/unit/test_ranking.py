"""Lists: best first, ties by item order, exclusions last."""

import numpy as np

from afterclick.ranking import popular_top_n, rank_top_n

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


def test_popular_top_n_scores_by_share() -> None:
    ranked = popular_top_n(np.array([1.0, 6.0, 3.0]), 2)

    assert ranked.items.tolist() == [[1, 2]]
    assert ranked.scores.tolist() == [[0.6, 0.3]]
