"""Scores to lists. numpy only."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.sequences import Cells, IntVector

FloatMatrix = npt.NDArray[np.floating[Any]]
_FIRST, _BLOCK = 1_024, 8_192
"""Items ranked at once: first of all, and at most, each time twice as many; the scores of 64 people are 2 MB then."""
_NARROW = 0.5
"""Width of a group as a share of the one with the fewest comparisons: a pass over rows costs less than picking items out."""
_ABOVE = 1 + 2.0**-20
"""What a length is multiplied by, so that no rounding makes it too short."""


class Ranked(NamedTuple):
    """Best items first: `items` and `scores`, shape (n_users, n)."""

    items: npt.NDArray[np.int64]
    scores: npt.NDArray[np.floating[Any]]


class ItemVectors(NamedTuple):
    """The vectors of a catalogue, longest first.

    Parameters
    ----------
    items, places : shape (n_items,)
        The item that stands at each place, and the place of each item.
    vectors : shape (n_items, rank)
    lengths : shape (n_items,)
        Not shorter than they are.
    """

    items: IntVector
    places: IntVector
    vectors: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.float64]


def longest_first(vectors: npt.NDArray[np.floating[Any]]) -> ItemVectors:
    """Return vectors of items, shape (n_items, rank), as `rank_products` reads them."""
    narrow = vectors.astype(np.float32)
    lengths = _lengths(narrow)
    items = np.argsort(-lengths, kind="stable")
    return ItemVectors(items, np.argsort(items), narrow[items], lengths[items])


def rank_products(
    people: npt.NDArray[np.float32],
    catalogue: ItemVectors,
    n: int,
    *,
    added: Sequence[Cells] = (),
    excluded: tuple[IntVector, IntVector] | None = None,
) -> Ranked:
    """Return the `n` best items of each person by inner product and what is added to it, in no order.

    Parameters
    ----------
    people : shape (n_people, rank)
    n
        At most the number of items.
    added
        Sparse scores.
    excluded
        People and items that must not be listed; their score is ``-inf``.

    Notes
    -----
    There is never a matrix of all scores: a block is small enough for the processor's cache, and of later blocks only what
    is better than the n-th best so far is kept. No product is greater than its two lengths multiplied, so who has n items
    that are at least as good as that needs no later block, and the list is still exact (search by length: Teflioudi,
    Gemulla, Mykytiuk, "LEMP: Fast Retrieval of Large Entries in a Matrix Product", SIGMOD 2015). What is chosen of equals
    does not depend on the other people.
    """
    terms = [*added, *([Cells(*excluded, np.full(len(excluded[0]), -np.inf))] if excluded else [])]
    terms = [cells._replace(items=catalogue.places[cells.items]) for cells in terms]
    edges = _edges(len(catalogue.items))
    parts = [_by_block(cells.items, edges) for cells in terms]
    best, ends, reach = _Best(len(people), n), np.zeros(len(people), np.int64), _lengths(people)
    for number, (begin, end) in enumerate(pairwise(edges)):
        searching = np.flatnonzero(reach * catalogue.lengths[begin] > best.floor)
        if not len(searching):
            break
        scores = people[searching] @ catalogue.vectors[begin:end].T
        for cells, part in zip(terms, parts, strict=True):
            _add(scores, searching, cells.where(part[number]), begin)
        best.take(scores, searching, begin)
        ends[searching] = end
    unseen = [cells.where(cells.items >= ends[cells.people]) for cells in terms]
    if any(len(cells.people) for cells in unseen):
        best.merge(_score_unseen(people, catalogue, unseen, best.floor))
    places, scores = best.ranked()
    return Ranked(catalogue.items[places], scores)


def _lengths(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.sqrt(np.einsum("ir,ir->i", vectors, vectors, dtype=np.float64)) * _ABOVE


def _edges(count: int) -> list[int]:
    """Return where each block of so many items begins, and where the last one ends."""
    edges, width = [0], _FIRST
    while edges[-1] + width < count:
        edges.append(edges[-1] + width)
        width = min(2 * width, _BLOCK)
    return [*edges, count] if count else edges


def _by_block(places: IntVector, edges: Sequence[int]) -> list[IntVector]:
    """Return which of some items lie in each block."""
    block_of = np.searchsorted(edges[1:-1], places, side="right").astype(np.min_scalar_type(len(edges)))
    order = np.argsort(block_of, kind="stable")
    return np.split(order, np.searchsorted(block_of[order], np.arange(1, len(edges) - 1)))


def _add(scores: FloatMatrix, people: IntVector, cells: Cells, begin: int) -> None:
    """Add sparse scores to those of a block, whose rows are some of the people, in order."""
    rows = np.minimum(np.searchsorted(people, cells.people), len(people) - 1)
    known = people[rows] == cells.people
    scores[rows[known], cells.items[known] - begin] += cells.values[known].astype(np.float32)


def _score_unseen(
    people: npt.NDArray[np.float32], catalogue: ItemVectors, terms: Sequence[Cells], floor: FloatMatrix
) -> "_Scores":
    """Return the scores of items in blocks nobody needed, where what is added to them may make them some of the best."""
    persons, places, values = (np.concatenate(parts) for parts in zip(*terms, strict=True))
    keys, cell_of = np.unique(persons * len(catalogue.items) + places, return_inverse=True)
    persons, places = np.divmod(keys, len(catalogue.items))
    scores = np.bincount(cell_of, values)
    wanted = _lengths(people)[persons] * catalogue.lengths[places] + scores > floor[persons]
    persons, places, scores = persons[wanted], places[wanted], scores[wanted]
    scores += np.einsum("cr,cr->c", people[persons], catalogue.vectors[places])
    return _Scores(persons, places, scores)


class _Best:
    """The `n` best of each person so far, by their places, and what came since that is better than the last of them.

    `floor` is the score of that last one, shape (n_people,); ``-inf`` with fewer than `n`.
    """

    def __init__(self, people: int, n: int) -> None:
        self.n = n
        self.best = Ranked(np.zeros((people, 0), np.int64), np.zeros((people, 0), np.float32))
        self.floor: FloatMatrix = np.full(people, -np.inf, np.float32)
        self._waiting: list[_Scores] = []

    def take(self, scores: FloatMatrix, people: IntVector, begin: int) -> None:
        """Take in some people's scores of a block, the first place of which is number `begin`."""
        if not begin:
            self._keep(_choose(scores, self.n))
            return
        if self.best.items.shape[1] < self.n:
            chosen = _choose(scores, self.n)
            self.merge(_flat(Ranked(chosen.items + begin, chosen.scores)))
            return
        found = np.flatnonzero(scores > self.floor[people, None])
        rows, items = np.divmod(found, scores.shape[1])
        self._waiting.append(_Scores(people[rows], items + begin, scores.ravel()[found]))
        if sum(len(one.people) for one in self._waiting) > self.best.items.size:
            self.merge()

    def ranked(self) -> Ranked:
        """Return the best of all that came."""
        if self._waiting:
            self.merge()
        return self.best

    def merge(self, *more: "_Scores") -> None:
        """Keep the best of what was, what waits and what comes; as many for each person."""
        parts = (_flat(self.best), *self._waiting, *more)
        people, items, scores = map(np.concatenate, zip(*parts, strict=True))
        order = np.argsort(-scores, kind="stable")
        order = order[np.argsort(people[order].astype(np.min_scalar_type(int(people.max()))), kind="stable")]
        sizes = np.bincount(people)
        place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        order = order[place < self.n].reshape(len(sizes), -1)
        self._waiting.clear()
        self._keep(Ranked(items[order], scores[order]))

    def _keep(self, best: Ranked) -> None:
        self.best = best
        if best.items.shape[1] == self.n:
            self.floor = best.scores.min(axis=1)


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
