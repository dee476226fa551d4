"""Why each item of a list is there: the source that brought most of its score, and the past item behind it. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.blend import SOURCES, Evidence
from afterclick.connectors.redis_store import ListedItem
from afterclick.covisitation import DEPTH
from afterclick.fold_in import FoldInBasis, contributions
from afterclick.models import Model
from afterclick.sequences import Cells, FloatVector, IntVector, Sequences, last_items

REASONS = ("because_you_interacted", "others_went_on", "again", "popular", "trending")
"""Why an item is listed, by the source that brought most of its score, in the order of `blend.SOURCES`."""
_FOLD_IN, _COVISITATION, _FREQUENCY = 0, 1, 2
_ROWS = 4_000  # listed items whose followers are looked at at once: 10 MB


class Scored(NamedTuple):
    """Scores of some people over the catalogue, and what they were made of."""

    scores: npt.NDArray[np.floating[Any]]
    evidence: Evidence
    weights: npt.NDArray[np.floating[Any]]
    """Of the blend, shape (n_people, len(SOURCES))."""
    interest: Cells
    """What fold-in was told: each person's weighed items."""


class Places(NamedTuple):
    """Listed items of some people, one after the other: `items[k]` is on the list of person `people[k]`."""

    people: IntVector
    items: IntVector


@dataclass(frozen=True)
class Explainer:
    """Tells it for lists of one model version."""

    model: Model
    basis: FoldInBasis
    item_ids: Sequence[str]

    def __call__(
        self, scored: Sequence[Scored], sequences: Sequences, lists: Sequence[Places]
    ) -> list[list[list[ListedItem]]]:
        """Return everybody's lists, each item with the source and the past item that brought most of its score.

        Parameters
        ----------
        scored, lists
            One of each for every mixture.

        Returns
        -------
        list
            By mixture, then by person.
        """
        parts = [_split(one, places) for one, places in zip(scored, lists, strict=True)]
        mains = [one.argmax(axis=0) for one in parts]
        carried = self._by_fold_in(scored, lists, mains)
        found = []
        for one, places, split, main, (because, of_fold_in) in zip(scored, lists, parts, mains, carried, strict=True):
            by_past = split[main, np.arange(len(main))]
            share = np.where(_is_by_past(main), by_past, of_fold_in * split[_FOLD_IN])
            share = np.maximum(share / np.maximum(np.abs(split).sum(axis=0), 1e-12), 0.0)
            followed = main == _COVISITATION
            because[followed] = self._led_to(sequences, Places(*(column[followed] for column in places)))
            scores = np.round(one.scores[places.people, places.items], 6)
            columns = (places.items, scores, main, because, np.round(share, 4))
            found.append(self._listed(columns, places.people, len(sequences.indptr) - 1))
        return found

    def _listed(
        self, columns: tuple[npt.NDArray[Any], ...], people: IntVector, n_people: int
    ) -> list[list[ListedItem]]:
        ids = self.item_ids
        items = [
            ListedItem(ids[item], score, REASONS[source], ids[past], part)
            for item, score, source, past, part in zip(*(column.tolist() for column in columns), strict=True)
        ]
        cuts = np.searchsorted(people, np.arange(n_people + 1)).tolist()
        return [items[begin:end] for begin, end in pairwise(cuts)]

    def _by_fold_in(
        self, scored: Sequence[Scored], lists: Sequence[Places], mains: Sequence[npt.NDArray[np.intp]]
    ) -> list[tuple[IntVector, FloatVector]]:
        """Return the past item that brought most of each fold-in score, and how much of it.

        Notes
        -----
        Asked only for items that no other past item explains (the rest name themselves), and at once for lists that
        fold in the same: a system per person costs more than all the rest of the explanation.
        """
        asked = [np.flatnonzero(~_is_by_past(main)) for main in mains]
        found: list[tuple[IntVector, FloatVector]] = [
            (places.items.copy(), np.zeros(len(places.items))) for places in lists
        ]
        for interest in {id(one.interest): one.interest for one in scored}.values():
            alike = [n for n, one in enumerate(scored) if one.interest is interest]
            people = np.concatenate([lists[n].people[asked[n]] for n in alike])
            items = np.concatenate([lists[n].items[asked[n]] for n in alike])
            because, share = self._carried(interest, Places(people, items))
            cuts = np.cumsum([len(asked[n]) for n in alike])[:-1]
            for n, past, part in zip(alike, np.split(because, cuts), np.split(share, cuts), strict=True):
                found[n][0][asked[n]], found[n][1][asked[n]] = past, part
        return found

    def _carried(self, interest: Cells, places: Places) -> tuple[IntVector, FloatVector]:
        because, share = np.zeros(len(places.items), np.int64), np.zeros(len(places.items))
        order = np.argsort(places.people, kind="stable")
        people, starts, counts = np.unique(places.people[order], return_index=True, return_counts=True)
        for person, start, count in zip(people.tolist(), starts.tolist(), counts.tolist(), strict=True):
            own = order[start : start + count]
            begin, end = np.searchsorted(interest.people, [person, person + 1])
            seen = interest.items[begin:end]
            confidence = self.model.alpha * interest.values[begin:end] ** self.model.weight_power
            brought = contributions(self.basis, places.items[own], seen, confidence)
            most = brought.argmax(axis=1)
            because[own] = seen[most]
            share[own] = brought[np.arange(len(most)), most] / np.maximum(np.abs(brought).sum(axis=1), 1e-12)
        return because, share

    def _led_to(self, sequences: Sequences, places: Places) -> IntVector:
        """Return the newest past item that each of these followed."""
        past = last_items(sequences, DEPTH)[places.people]
        if not (sources := self.model.sources) or not len(past):
            return past[:, 0]
        newest = np.zeros(len(past), np.int64)
        for begin in range(0, len(past), _ROWS):
            part = slice(begin, begin + _ROWS)
            is_there = (sources.followers[past[part]] == places.items[part, None, None]).any(axis=2)
            newest[part] = (is_there & (past[part] >= 0)).argmax(axis=1)
        return past[np.arange(len(past)), newest]


def _split(scored: Scored, places: Places) -> npt.NDArray[np.float64]:
    """Split scores by source, shape (len(SOURCES), n_places)."""
    evidence, (people, items) = scored.evidence, places
    rows = np.zeros((len(SOURCES), len(items)))
    rows[_FOLD_IN] = evidence.fold_in[people, items]
    span = evidence.fold_in.shape[1]
    for place, cells in ((_COVISITATION, evidence.covisitation), (_FREQUENCY, evidence.frequency)):
        if len(cells.items):
            known, wanted = cells.people * span + cells.items, people * span + items
            at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            rows[place] = np.where(known[at] == wanted, cells.values[at], 0.0)
    rows[3], rows[4] = evidence.popularity[items], evidence.trend[items]
    return rows * scored.weights[people].T


def _is_by_past(main: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Return which items a past item explains by itself: what led there, or the item."""
    return (main == _COVISITATION) | (main == _FREQUENCY)
