"""Why each item of a list is there: the source that brought most of its score, and the past item behind it. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.blend import SOURCES, Evidence
from afterclick.connectors.redis_store import ListedItem
from afterclick.covisitation import DEPTH
from afterclick.fold_in import FoldInBasis, contributions
from afterclick.models import Model
from afterclick.sequences import Cells, Sequences

REASONS = ("because_you_interacted", "others_went_on", "again", "popular", "trending")
"""Why an item is listed, by the source that brought most of its score, in the order of `blend.SOURCES`."""
_FOLD_IN, _COVISITATION, _FREQUENCY = 0, 1, 2


class Scored(NamedTuple):
    """Scores of some people over the catalogue, and what they were made of."""

    scores: npt.NDArray[np.floating[Any]]
    evidence: Evidence
    weights: npt.NDArray[np.floating[Any]]
    """Of the blend, shape (n_people, len(SOURCES))."""
    interest: Cells
    """What fold-in was told: each person's weighed items."""


@dataclass(frozen=True)
class Explainer:
    """Tells it for lists of one model version."""

    model: Model
    basis: FoldInBasis
    item_ids: Sequence[str]

    def __call__(
        self, scored: Sequence[Scored], sequences: Sequences, person: int, lists: Sequence[npt.NDArray[np.int64]]
    ) -> list[list[ListedItem]]:
        """Return the items of a person's lists, each with the source and the past item that brought most of its score.

        Parameters
        ----------
        scored, lists
            One of each for every mixture.
        """
        parts = [self._parts(one, person, items) for one, items in zip(scored, lists, strict=True)]
        carried = self._by_fold_in(scored, person, lists, [one.argmax(axis=0) for one in parts])
        return [
            self._explained(one, sequences, person, items, parts=split, because=because, of_fold_in=share)
            for one, items, split, (because, share) in zip(scored, lists, parts, carried, strict=True)
        ]

    def _explained(
        self,
        scored: Scored,
        sequences: Sequences,
        person: int,
        items: npt.NDArray[np.int64],
        *,
        parts: npt.NDArray[np.float64],
        because: npt.NDArray[np.int64],
        of_fold_in: npt.NDArray[np.float64],
    ) -> list[ListedItem]:
        main = parts.argmax(axis=0)
        total = np.maximum(np.abs(parts).sum(axis=0), 1e-12)
        share = np.where(_is_by_past(main), parts[main, np.arange(len(items))], of_fold_in * parts[_FOLD_IN]) / total
        followed = main == _COVISITATION
        if followed.any():
            because[followed] = self._led_to(sequences, person, items[followed])
        because = np.where(main == _FREQUENCY, items, because)
        scores = np.round(scored.scores[person, items], 6)
        columns = (items, scores, main, because, np.round(np.maximum(share, 0.0), 4))
        ids = self.item_ids
        return [
            ListedItem(ids[item], score, REASONS[source], ids[past], part)
            for item, score, source, past, part in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _parts(self, scored: Scored, person: int, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Split scores by source, shape (len(SOURCES), n_items)."""
        evidence, weights = scored.evidence, scored.weights[person]
        rows = np.zeros((len(SOURCES), len(items)))
        rows[_FOLD_IN] = evidence.fold_in[person, items]
        for place, cells in ((_COVISITATION, evidence.covisitation), (_FREQUENCY, evidence.frequency)):
            begin, end = np.searchsorted(cells.people, [person, person + 1])
            known = cells.items[begin:end]  # sorted
            if len(known):
                at = np.minimum(np.searchsorted(known, items), len(known) - 1)
                rows[place] = np.where(known[at] == items, cells.values[begin:end][at], 0.0)
        rows[3], rows[4] = evidence.popularity[items], evidence.trend[items]
        return rows * weights[:, None]

    def _by_fold_in(
        self,
        scored: Sequence[Scored],
        person: int,
        lists: Sequence[npt.NDArray[np.int64]],
        mains: Sequence[npt.NDArray[np.intp]],
    ) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        """Return the past item that brought most of each fold-in score, and how much of it.

        Notes
        -----
        Asked only for items that no other past item explains, and of lists that fold in the same at once: a system
        per person costs more than all the rest of the explanation.
        """
        found = [(items.copy(), np.zeros(len(items))) for items in lists]
        asked = [np.flatnonzero(~_is_by_past(main)) for main in mains]
        told = {id(one.interest): one.interest for one in scored}
        for interest in told.values():
            some = [n for n, one in enumerate(scored) if one.interest is interest and len(asked[n])]
            if not some:
                continue
            wanted = np.concatenate([lists[n][asked[n]] for n in some])
            because, share = self._carried(interest, person, wanted)
            cuts = np.cumsum([len(asked[n]) for n in some])[:-1]
            for n, past, part in zip(some, np.split(because, cuts), np.split(share, cuts), strict=True):
                found[n][0][asked[n]], found[n][1][asked[n]] = past, part
        return found

    def _carried(
        self, interest: Cells, person: int, items: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        begin, end = np.searchsorted(interest.people, [person, person + 1])
        seen = interest.items[begin:end]
        confidence = self.model.alpha * interest.values[begin:end] ** self.model.weight_power
        brought = contributions(self.basis, items, seen, confidence)
        most = brought.argmax(axis=1)
        share = brought[np.arange(len(most)), most] / np.maximum(np.abs(brought).sum(axis=1), 1e-12)
        return seen[most], share

    def _led_to(self, sequences: Sequences, person: int, items: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the newest past item that each of these followed."""
        begin, end = sequences.indptr[person : person + 2]
        past = sequences.items[begin:end][::-1][:DEPTH]
        if not (sources := self.model.sources):
            return np.full(len(items), past[0])
        followed = (sources.followers[past][:, :, None] == items).any(axis=1)
        return past[followed.argmax(axis=0)]


def _is_by_past(main: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Return which items a past item explains by itself: what led there, or the item."""
    return (main == _COVISITATION) | (main == _FREQUENCY)
