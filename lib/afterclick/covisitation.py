"""Live co-visitation: how often an item followed another within a few steps of one person. numpy only.

Counts are directed, weigh near steps more, and each item keeps its strongest partners only, so memory is
bounded. The same rules run in memory (evaluation, training) and in Redis (`connectors.redis_store`).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.sequences import Cells, IntVector, Sequences, last_items, sum_cells

FloatVector = npt.NDArray[np.floating[Any]]
STEPS = 5
"""An item counts as following the last this many interactions; a step of d weighs 1/d."""
DEPTH = 5
"""Scores come from the followers of this many newest items ..."""
FADE = 0.6
"""... each newest one weighing this much less than the one after it."""
SHRINK = 2.0
"""Added to a row's sum: an item with few followers says little."""


class Steps(NamedTuple):
    """Observed steps `before` -> `after` with their weight."""

    before: IntVector
    after: IntVector
    weights: FloatVector


def steps_to(sequences: Sequences, places: IntVector, people: IntVector, names: IntVector) -> tuple[Steps, IntVector]:
    """Return the steps that end at some interactions, and by which interaction each was made.

    Parameters
    ----------
    places
        Indices into ``sequences.items`` of the interactions that are new.
    people, names
        Their people, and what to call each of them.
    """
    distance = np.arange(1, STEPS + 1)
    source = places[:, None] - distance
    is_there = source >= sequences.indptr[people][:, None]
    before = sequences.items[source[is_there]]
    after = np.repeat(sequences.items[places], is_there.sum(axis=1))
    differs = before != after
    weights = np.broadcast_to(1.0 / distance, source.shape)[is_there]
    made_by = np.repeat(names, is_there.sum(axis=1))
    return Steps(before[differs], after[differs], weights[differs]), made_by[differs]


class Covisitation:
    """Followers of every item in memory; each item keeps at most `capacity` of them."""

    def __init__(self, n_items: int, capacity: int = 128) -> None:
        self.followers = np.full((n_items, capacity), -1, np.int32)
        self.weights = np.zeros((n_items, capacity), np.float32)
        self.totals = np.zeros(n_items)

    def add(self, steps: Steps) -> None:
        """Count steps; of a full item's followers and its new ones the strongest stay, and the strongest new one in any case."""
        if not len(steps.before):
            return
        np.add.at(self.totals, steps.before, steps.weights)
        before, after, weights = sum_cells(steps.before, steps.after, steps.weights)
        hit, slot = self._find(before, after)
        self.weights[before[hit], slot[hit]] += weights[hit]
        self._insert(before[~hit], after[~hit], weights[~hit])

    def _find(self, before: IntVector, after: IntVector) -> tuple[npt.NDArray[np.bool_], IntVector]:
        hit, slot = np.zeros(len(before), bool), np.zeros(len(before), np.int64)
        step = 65_536
        for begin in range(0, len(before), step):
            part = slice(begin, begin + step)
            is_same = self.followers[before[part]] == after[part, None]
            slot[part] = is_same.argmax(axis=1)
            hit[part] = is_same[np.arange(len(is_same)), slot[part]]
        return hit, slot

    def _insert(self, before: IntVector, after: IntVector, weights: FloatVector) -> None:
        order = np.lexsort((-weights, before))
        before, after, weights = before[order], after[order], weights[order]
        starts = np.flatnonzero(np.r_[True, before[1:] != before[:-1]]) if len(before) else np.zeros(0, np.int64)
        place = np.arange(len(before)) - np.repeat(starts, np.diff(np.r_[starts, len(before)]))
        fits = place < self.followers.shape[1]
        rows = before[starts]
        weakest = np.argsort(self.weights[rows], axis=1, kind="stable")
        row_of = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(before)]))
        before, after, weights, place = before[fits], after[fits], weights[fits], place[fits]
        slots = weakest[row_of[fits], place]
        wins = (place == 0) | (weights > self.weights[before, slots])  # stored ones ascend, new ones descend
        self.followers[before[wins], slots[wins]] = after[wins]
        self.weights[before[wins], slots[wins]] = weights[wins]


class Followers(NamedTuple):
    """Rows of a table: for entry k, `items[k]` was followed by `followers[k]` with `weights[k]`."""

    sources: IntVector
    """Number of the row each entry belongs to."""
    followers: IntVector
    weights: FloatVector
    totals: FloatVector
    """Sum of each row, shape (n_rows,)."""


def read_followers(table: Covisitation, items: IntVector) -> Followers:
    """Return the rows of some items."""
    followers, weights = table.followers[items], table.weights[items]
    rows, slots = np.nonzero(followers >= 0)
    return Followers(rows, followers[rows, slots].astype(np.int64), weights[rows, slots], table.totals[items])


def score_followers(wanted: IntVector, followers: Followers) -> Cells:
    """Score what followed each person's newest items.

    Parameters
    ----------
    wanted : shape (n_people, depth)
        `sequences.last_items`; row numbers of `followers` count its entries that are not -1, in order.
    """
    people, depth = np.nonzero(wanted >= 0)
    share = FADE ** depth[followers.sources] / (followers.totals[followers.sources] + SHRINK)
    return sum_cells(people[followers.sources], followers.followers, followers.weights * share)


def score_covisitation(sequences: Sequences, table: Covisitation) -> Cells:
    """Score followers from a table in memory."""
    wanted = last_items(sequences, DEPTH)
    return score_followers(wanted, read_followers(table, wanted[wanted >= 0]))
