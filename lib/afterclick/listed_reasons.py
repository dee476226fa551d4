"""Why an item is listed: the source that brought most of its score, and for one person the past item behind it. No I/O."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.blend import SOURCES, Evidence
from afterclick.covisitation import DEPTH
from afterclick.fold_in import FoldInBasis, contributions
from afterclick.list_records import REASONS
from afterclick.models import Model
from afterclick.sequences import Cells, FloatVector, IntVector, Sequences, last_items

_FOLD_IN, _COVISITATION, _FREQUENCY = 0, 1, 2


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


class Explanation(NamedTuple):
    """Why one person's list has an item: `because` is the past item that brought most of the score, `share` how much (0-1)."""

    reason: str
    because: int
    share: float


def main_sources(scored: Scored, places: Places) -> npt.NDArray[np.intp]:
    """Return the source that brought most of each place's score, an index into `SOURCES`."""
    return _split(scored, places).argmax(axis=0)


@dataclass(frozen=True)
class Explainer:
    """Tells one person why, by one model version."""

    model: Model
    basis: FoldInBasis

    def __call__(self, scored: Scored, sequences: Sequences, items: IntVector) -> list[Explanation]:
        """Return why each of some items is listed, for one person of whom something is known.

        Parameters
        ----------
        scored, sequences
            Of this person alone.
        items : shape (n_listed,)
            Rows of the model.
        """
        split = _split(scored, Places(np.zeros(len(items), np.int64), items))
        main = split.argmax(axis=0)
        because, of_fold_in = self._carried(scored.interest, items)
        is_followed, is_again = main == _COVISITATION, main == _FREQUENCY
        because[is_again] = items[is_again]
        because[is_followed] = self._led_to(sequences, items[is_followed])
        by_past = split[main, np.arange(len(main))]
        share = np.where(is_followed | is_again, by_past, of_fold_in * split[_FOLD_IN])
        share = np.maximum(share / np.maximum(np.abs(split).sum(axis=0), 1e-12), 0.0).round(4)
        columns = (main.tolist(), because.tolist(), share.tolist())
        return [Explanation(REASONS[source], past, part) for source, past, part in zip(*columns, strict=True)]

    def _carried(self, interest: Cells, items: IntVector) -> tuple[IntVector, FloatVector]:
        """Return the past item that brought most of each fold-in score, and how much of it."""
        confidence = self.model.alpha * interest.values**self.model.weight_power
        brought = contributions(self.basis, items, interest.items, confidence)
        most = brought.argmax(axis=1)
        share = brought[np.arange(len(most)), most] / np.maximum(np.abs(brought).sum(axis=1), 1e-12)
        return interest.items[most], share

    def _led_to(self, sequences: Sequences, items: IntVector) -> IntVector:
        """Return the newest past item that each of these followed."""
        past = last_items(sequences, DEPTH)[0]
        if not (sources := self.model.sources):
            return np.full(len(items), past[0])
        is_there = (sources.followers[past][None] == items[:, None, None]).any(axis=2)
        return np.asarray(past[(is_there & (past >= 0)).argmax(axis=1)])


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
