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
_FOLD_IN, _COVISITATION, _FREQUENCY, _POPULARITY = 0, 1, 2, 3


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
        self, scored: Scored, sequences: Sequences, person: int, items: npt.NDArray[np.int64]
    ) -> list[ListedItem]:
        """Return a person's items, each with the source and the past item that brought most of its score."""
        parts = self._parts(scored, person, items)
        main = parts.argmax(axis=0)
        total = np.maximum(np.abs(parts).sum(axis=0), 1e-12)
        because, of_fold_in = self._by_fold_in(scored, person, items)
        share = np.where(main < _POPULARITY, parts[main, np.arange(len(items))], 0.0)
        by_itself = (main != _COVISITATION) & (main != _FREQUENCY)
        share = np.where(by_itself, of_fold_in * parts[_FOLD_IN], share) / total
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
        self, scored: Scored, person: int, items: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the past item that brought most of each fold-in score, and how much of it."""
        begin, end = np.searchsorted(scored.interest.people, [person, person + 1])
        seen = scored.interest.items[begin:end]
        confidence = self.model.alpha * scored.interest.values[begin:end] ** self.model.weight_power
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
