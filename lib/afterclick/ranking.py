"""Scores to lists. numpy only."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

IntVector = npt.NDArray[np.int64]
_NARROW = 0.5
"""Width of a block as a share of the one with the fewest comparisons: a pass over rows costs less than picking items out."""


class Ranked(NamedTuple):
    """Best items first: `items` and `scores`, shape (n_users, n)."""

    items: npt.NDArray[np.int64]
    scores: npt.NDArray[np.floating[Any]]


def rank_top_n(
    user_factors: npt.NDArray[np.floating[Any]],
    item_factors: npt.NDArray[np.floating[Any]],
    n: int,
    *,
    excluded: tuple[IntVector, IntVector] | None = None,
) -> Ranked:
    """Return the `n` best items of each user by inner product; equal scores by item order.

    Parameters
    ----------
    user_factors : shape (n_users, rank)
    item_factors : shape (n_items, rank)
    n
        At most the number of items.
    excluded
        User rows and item rows that must not be listed; their score is ``-inf``, and they come last.
    """
    scores = user_factors @ item_factors.T
    if excluded is not None:
        scores[excluded] = -np.inf
    return top_n(scores, n)


def top_n(scores: npt.NDArray[np.floating[Any]], n: int) -> Ranked:
    """Return the `n` best items of each row of scores, shape (n_users, n_items); equal scores by item order.

    Notes
    -----
    An item among the `n` best lies in one of the `n` blocks with the highest maxima, so only those are partitioned:
    one pass over the scores instead of a partition of all of them. A block is every so-manieth item, so that its maximum
    is taken of whole rows at once. Which of several items with exactly the n-th best score is listed is not defined.
    """
    people, count = scores.shape
    n = min(n, count)
    width = int((count / max(n, 1)) ** 0.5 * _NARROW)
    blocks = count // max(width, 1)
    if width <= 1 or blocks <= 2 * n:
        return _partition(scores, np.broadcast_to(np.arange(count), scores.shape), n)
    maxima = scores[:, : blocks * width].reshape(people, width, blocks).max(axis=1)
    best = np.argpartition(maxima, blocks - n, axis=1)[:, blocks - n :]
    inside = (best[:, None, :] + np.arange(width)[:, None] * blocks).reshape(people, n * width)
    rest = np.broadcast_to(np.arange(blocks * width, count), (people, count - blocks * width))
    items = np.concatenate([inside, rest], axis=1)
    return _partition(np.take_along_axis(scores, items, axis=1), items, n)


def _partition(scores: npt.NDArray[np.floating[Any]], items: IntVector, n: int) -> Ranked:
    """Return the `n` best of some items; `scores` are theirs."""
    below = -scores
    best = np.argpartition(below, n - 1, axis=1)[:, :n]
    found, below = np.take_along_axis(items, best, axis=1), np.take_along_axis(below, best, axis=1)
    order = np.lexsort((found, below), axis=1)
    return Ranked(np.take_along_axis(found, order, axis=1), -np.take_along_axis(below, order, axis=1))


def popular_top_n(popularity: npt.NDArray[np.float64], n: int) -> Ranked:
    """Return the `n` most popular items as one user's list; shares of all popularity as scores."""
    order = np.argsort(-popularity, kind="stable")[:n]
    total = popularity.sum() or 1.0
    return Ranked(order[None, :], (popularity[order] / total)[None, :])
