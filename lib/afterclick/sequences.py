"""People's recent interactions as rows of a catalogue, oldest first: what every source reads. numpy only."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.histories import Confidences
from afterclick.source_rules import SourceRules

IntVector = npt.NDArray[np.int64]
FloatVector = npt.NDArray[np.floating[Any]]
_LEAST_TREND = 0.01
"""Added to the trend of an item, so that one that nobody had lately still counts."""
_PEOPLE_OF_ANY_ITEM = 20
"""So many people of the average item are added to those of each one."""


class Sequences(NamedTuple):
    """Interactions of many people (CSR): person p's are ``items[indptr[p]:indptr[p + 1]]``, oldest first.

    Parameters
    ----------
    items, weights : shape (n_interactions,)
        Row of the catalogue, and weight of the event's type (positive).
    """

    indptr: IntVector
    items: IntVector
    weights: FloatVector

    @property
    def people(self) -> IntVector:
        """Return the person of each interaction."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    @property
    def ages(self) -> IntVector:
        """Return how many interactions came after each one; 0 for the newest."""
        return self.indptr[self.people + 1] - 1 - np.arange(len(self.items))


class Cells(NamedTuple):
    """Sparse scores: one value per (person, item), each pair once, sorted."""

    people: IntVector
    items: IntVector
    values: FloatVector

    def where(self, keep: npt.NDArray[np.bool_] | IntVector) -> "Cells":
        """Return some of them, by mask or by number."""
        return Cells(self.people[keep], self.items[keep], self.values[keep])


def take_sequences(indptr: IntVector, items: IntVector, weights: FloatVector, keep: npt.NDArray[np.bool_]) -> Sequences:
    """Return the kept interactions, order and people unchanged."""
    kept_before = np.concatenate([[0], np.cumsum(keep)])
    return Sequences(kept_before[indptr], items[keep], weights[keep])


def sum_cells(people: IntVector, items: IntVector, values: FloatVector) -> Cells:
    """Add up values of the same person and item."""
    span = int(items.max(initial=0)) + 1
    keys, cell_of = np.unique(people * span + items, return_inverse=True)
    return Cells(keys // span, keys % span, np.bincount(cell_of, values, minlength=len(keys)).astype(float))


def weigh_recent(sequences: Sequences, *, half_life: float) -> Cells:
    """Add up each person's interest by item: an interaction counts half as much after every `half_life` later ones.

    Parameters
    ----------
    half_life
        Number of interactions; infinity = no decay.
    """
    decay = np.exp2(-sequences.ages / half_life)
    return sum_cells(sequences.people, sequences.items, sequences.weights * decay)


def weigh_repeats(sequences: Sequences, trend: FloatVector, repeat_rate: FloatVector, rules: SourceRules) -> Cells:
    """Add up how often each person had each item, less so what others no longer ask for, or have once only.

    Parameters
    ----------
    trend : shape (n_items,)
        Recent popularity, between 0 and 1.
    repeat_rate : shape (n_items,)
        `repeat_rates`.

    References
    ----------
    Bhagat, Muralidharan, Lobzhanidze, Vishwanath (2018), "Buy It Again", section 3.1: the item's own rate of repeats.
    """
    cells = weigh_recent(sequences, half_life=rules.repeat_half_life)
    values = cells.values
    if rules.repeat_trend_power:
        values = values * (trend[cells.items] + _LEAST_TREND) ** rules.repeat_trend_power
    if rules.repeat_rate_power:
        values = values * repeat_rate[cells.items] ** rules.repeat_rate_power
    return cells._replace(values=values)


def repeat_rates(once: IntVector, again: IntVector) -> npt.NDArray[np.float64]:
    """Return the share of the people who had an item that had it again, drawn to that of all items where they are few.

    Parameters
    ----------
    once, again : shape (n_items,)
        Numbers of people.
    """
    whole = again.sum() / max(once.sum(), 1)
    return np.asarray((again + _PEOPLE_OF_ANY_ITEM * whole) / (once + _PEOPLE_OF_ANY_ITEM), np.float64)


def as_confidences(cells: Cells, n_people: int, *, alpha: float, power: float = 1.0) -> Confidences:
    """Return interest as confidences for `fold_in.fold_in_users`."""
    indptr = np.concatenate([[0], np.cumsum(np.bincount(cells.people, minlength=n_people))]).astype(np.int64)
    return Confidences(indptr, cells.items, alpha * cells.values**power)


def last_items(sequences: Sequences, depth: int) -> IntVector:
    """Return the `depth` newest interactions' items, newest first, shape (n_people, depth); -1 where there are fewer."""
    places = sequences.indptr[1:, None] - 1 - np.arange(depth)
    is_there = places >= sequences.indptr[:-1, None]
    found = np.full(places.shape, -1)
    found[is_there] = sequences.items[places[is_there]]
    return found
