"""Why an item is listed: the source that brought most of its score, and for one person the past item behind it. No I/O."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from afterclick.covisitation import DEPTH
from afterclick.fold_in import FoldInBasis, contributions
from afterclick.list_records import REASONS
from afterclick.model_evidence import COVISITATION, FOLD_IN, FREQUENCY, Known
from afterclick.models import Model
from afterclick.sequences import Cells, FloatVector, IntVector, Sequences, last_items


class Explanation(NamedTuple):
    """Why one person's list has an item: `because` is the past item that brought most of the score, `share` how much (0-1)."""

    reason: str
    because: int
    share: float


@dataclass(frozen=True)
class Explainer:
    """Tells one person why, by one model version."""

    model: Model
    basis: FoldInBasis

    def __call__(self, known: Known, sequences: Sequences, items: IntVector) -> list[Explanation]:
        """Return why each of some items is listed, for one person of whom something is known.

        Parameters
        ----------
        known, sequences
            Of this person alone.
        items : shape (n_listed,)
            Rows of the model.
        """
        split = known.split(np.zeros(1, np.int64), items)
        main = split.argmax(axis=0)
        because, of_fold_in = self._carried(known.interest, items)
        is_followed, is_again = main == COVISITATION, main == FREQUENCY
        because[is_again] = items[is_again]
        because[is_followed] = self._led_to(sequences, items[is_followed])
        by_past = split[main, np.arange(len(main))]
        share = np.where(is_followed | is_again, by_past, of_fold_in * split[FOLD_IN])
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
