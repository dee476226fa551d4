"""Scores to lists. numpy only."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

IntVector = npt.NDArray[np.int64]


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
    one pass over the scores instead of a partition of all of them. Which of several items with exactly the n-th
    best score is listed is not defined.
    """
    n = min(n, scores.shape[1])
    width = int((scores.shape[1] / max(n, 1)) ** 0.5)
    blocks = scores.shape[1] // max(width, 1)
    if blocks <= 2 * n:
        return _partition(scores, n)
    maxima = scores[:, : blocks * width].reshape(len(scores), blocks, width).max(axis=2)
    best = np.sort(np.argpartition(maxima, blocks - n, axis=1)[:, blocks - n :], axis=1)
    inside = (best[:, :, None] * width + np.arange(width)).reshape(len(scores), n * width)
    rest = np.broadcast_to(np.arange(blocks * width, scores.shape[1]), (len(scores), scores.shape[1] - blocks * width))
    items = np.concatenate([inside, rest], axis=1)
    ranked = _partition(np.take_along_axis(scores, items, axis=1), n)
    return Ranked(np.take_along_axis(items, ranked.items, axis=1), ranked.scores)


def _partition(scores: npt.NDArray[np.floating[Any]], n: int) -> Ranked:
    best = np.argpartition(-scores, n - 1, axis=1)[:, :n]
    best.sort(axis=1)
    best_scores = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-best_scores, axis=1, kind="stable")
    return Ranked(np.take_along_axis(best, order, axis=1), np.take_along_axis(best_scores, order, axis=1))


def popular_top_n(popularity: npt.NDArray[np.float64], n: int) -> Ranked:
    """Return the `n` most popular items as one user's list; shares of all popularity as scores."""
    order = np.argsort(-popularity, kind="stable")[:n]
    total = popularity.sum() or 1.0
    return Ranked(order[None, :], (popularity[order] / total)[None, :])
