"""Scores to lists. numpy only."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.sequences import Cells, IntVector

FloatMatrix = npt.NDArray[np.floating[Any]]
_BLOCK = 16_384
"""Items ranked at once: the scores of 64 people are 4 MB."""
_KEPT = 8
"""Times as many as are listed: so many better ones may wait until they are merged."""
_NARROW = 0.5
"""Width of a group as a share of the one with the fewest comparisons: a pass over rows costs less than picking items out."""


class Ranked(NamedTuple):
    """Best items first: `items` and `scores`, shape (n_users, n)."""

    items: npt.NDArray[np.int64]
    scores: npt.NDArray[np.floating[Any]]


def cut_columns(columns: npt.NDArray[np.floating[Any]]) -> tuple[npt.NDArray[np.float32], ...]:
    """Return a catalogue's columns, shape (n_items, rank), in blocks of shape (rank, up to `_BLOCK`) for `rank_products`."""
    parts = (columns[begin : begin + _BLOCK] for begin in range(0, len(columns), _BLOCK))
    return tuple(np.ascontiguousarray(part.T, np.float32) for part in parts)


def rank_products(
    rows: npt.NDArray[np.float32],
    columns: Sequence[npt.NDArray[np.float32]],
    n: int,
    *,
    added: Sequence[Cells] = (),
    excluded: tuple[IntVector, IntVector] | None = None,
) -> Ranked:
    """Return the `n` best items of each person by inner product and what is added to it, in no order.

    Parameters
    ----------
    rows : shape (n_people, rank)
    columns
        `cut_columns` of the catalogue.
    n
        At most the number of items.
    added
        Sparse scores.
    excluded
        People and items that must not be listed; their score is ``-inf``.

    Notes
    -----
    There is never a matrix of all scores: a block is small enough for the processor's cache, and of later blocks only what
    is better than the n-th best so far is kept. What is chosen of equals does not depend on the other people.
    """
    best, begin = _Best(n), 0
    terms = [(cells, _by_block(cells.items, columns)) for cells in added]
    left_out = _by_block(excluded[1], columns) if excluded else []
    for number, block in enumerate(columns):
        scores = rows @ block
        for cells, parts in terms:
            part = parts[number]
            scores[cells.people[part], cells.items[part] - begin] += cells.values[part].astype(np.float32)
        if excluded:
            part = left_out[number]
            scores[excluded[0][part], excluded[1][part] - begin] = -np.inf
        best.take(scores, begin)
        begin += block.shape[1]
    return best.merged()


def _by_block(items: IntVector, columns: Sequence[npt.NDArray[np.float32]]) -> list[IntVector]:
    """Return which of some items lie in each block."""
    block_of = (items // columns[0].shape[1]).astype(np.min_scalar_type(len(columns)))
    order = np.argsort(block_of, kind="stable")
    return np.split(order, np.searchsorted(block_of[order], np.arange(1, len(columns))))


class _Best:
    """The `n` best items of each person so far, and what came since that is better than the last of them."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.best = Ranked(np.zeros((0, 0), np.int64), np.zeros((0, 0), np.float32))
        self.floor: FloatMatrix = np.zeros((0, 1), np.float32)
        self.waiting: list[_Scores] = []

    def take(self, scores: FloatMatrix, begin: int) -> None:
        """Take in the scores of a block of items, the first of which is number `begin`."""
        if not begin:
            self.best = _choose(scores, self.n)
        elif self.best.items.shape[1] < self.n:
            chosen = _choose(scores, self.n)
            self.waiting.append(_flat(Ranked(chosen.items + begin, chosen.scores)))
        else:
            places = np.flatnonzero(scores > self.floor)
            people, items = np.divmod(places, scores.shape[1])
            self.waiting.append(_Scores(people, items + begin, scores.ravel()[places]))
            if sum(len(one.people) for one in self.waiting) <= _KEPT * self.best.items.size:
                return
        self.best = self.merged()
        self.floor = self.best.scores.min(axis=1, keepdims=True)
        self.waiting.clear()

    def merged(self) -> Ranked:
        """Return the best of all that was taken in; as many for each person."""
        if not self.waiting:
            return self.best
        people, items, scores = map(np.concatenate, zip(_flat(self.best), *self.waiting, strict=True))
        order = np.argsort(-scores, kind="stable")
        order = order[np.argsort(people[order].astype(np.min_scalar_type(int(people.max()))), kind="stable")]
        sizes = np.bincount(people)
        place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        order = order[place < self.n].reshape(len(sizes), -1)
        return Ranked(items[order], scores[order])


class _Scores(NamedTuple):
    people: IntVector
    items: IntVector
    scores: npt.NDArray[np.floating[Any]]


def _flat(ranked: Ranked) -> _Scores:
    people = np.repeat(np.arange(len(ranked.items)), ranked.items.shape[1])
    return _Scores(people, ranked.items.ravel(), ranked.scores.ravel())


def top_n(scores: FloatMatrix, n: int) -> Ranked:
    """Return the `n` best items of each row of scores, shape (n_users, n_items), best first; equal scores by item order.

    Notes
    -----
    Which of several items with exactly the n-th best score is listed is not defined.
    """
    items, best = _choose(scores, n)
    order = np.lexsort((items, -best), axis=1)
    return Ranked(np.take_along_axis(items, order, axis=1), np.take_along_axis(best, order, axis=1))


def _choose(scores: FloatMatrix, n: int) -> Ranked:
    """Return the `n` best items of each row in no order.

    Notes
    -----
    An item among the `n` best lies in one of the `n` groups with the highest maxima, so only those are partitioned:
    one pass over the scores instead of a partition of all of them. A group is every so-manieth item, so that its maximum
    is taken of whole rows at once.
    """
    people, count = scores.shape
    n = min(n, count)
    width = int((count / max(n, 1)) ** 0.5 * _NARROW)
    groups = count // max(width, 1)
    if width <= 1 or groups <= 2 * n:
        return _partition(scores, np.broadcast_to(np.arange(count), scores.shape), n)
    maxima = scores[:, : groups * width].reshape(people, width, groups).max(axis=1)
    best = np.argpartition(maxima, groups - n, axis=1)[:, groups - n :]
    inside = (best[:, None, :] + np.arange(width)[:, None] * groups).reshape(people, n * width)
    rest = np.broadcast_to(np.arange(groups * width, count), (people, count - groups * width))
    items = np.concatenate([inside, rest], axis=1)
    return _partition(np.take_along_axis(scores, items, axis=1), items, n)


def _partition(scores: FloatMatrix, items: IntVector, n: int) -> Ranked:
    """Return the `n` best of some items; `scores` are theirs."""
    best = np.argpartition(-scores, n - 1, axis=1)[:, :n]
    return Ranked(np.take_along_axis(items, best, axis=1), np.take_along_axis(scores, best, axis=1))


def popular_top_n(popularity: npt.NDArray[np.float64], n: int) -> Ranked:
    """Return the `n` most popular items as one user's list; shares of all popularity as scores."""
    order = np.argsort(-popularity, kind="stable")[:n]
    total = popularity.sum() or 1.0
    return Ranked(order[None, :], (popularity[order] / total)[None, :])
