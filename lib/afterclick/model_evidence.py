"""What a model says of people's histories, and their best items by it; what several mixtures read alike is computed once.

Items are chosen in single precision, a few more than are wanted; their scores are then computed in double precision, each
for itself, so that they depend on nothing but the person's history and the model. numpy only.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.blend import SOURCES, contexts_of, single_source_blend
from afterclick.covisitation import DEPTH, score_followers
from afterclick.fold_in import FoldInBasis, fold_in_users
from afterclick.mixtures import Mixture
from afterclick.models import Model
from afterclick.ranking import ItemVectors, Ranked, longest_first, rank_products
from afterclick.sequences import Cells, IntVector, Sequences, as_confidences, last_items, weigh_recent, weigh_repeats
from afterclick.source_rules import SourceRules

FloatMatrix = npt.NDArray[np.floating[Any]]
_NOTHING = Cells(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
FOLD_IN, COVISITATION, FREQUENCY, POPULARITY, TREND = range(len(SOURCES))
"""Places in `SOURCES`."""
_ALONE = single_source_blend("fold_in")
_SPARE = 8
"""Items that are chosen beyond those wanted: the last wanted one must be clearly better than the last spare one."""
_ROUNDING = 2.0**-22
"""Error of a sum of single precision, as a share of its terms, and of their number: four times what rounding may do."""


@dataclass(frozen=True)
class ModelBasis:
    """A model with what is computed from it once.

    Parameters
    ----------
    popularity, trend : shape (n_items,)
        Shares of the highest.
    """

    model: Model
    fold_in: FoldInBasis
    popularity: npt.NDArray[np.float64]
    trend: npt.NDArray[np.float64]

    @cached_property
    def catalogue(self) -> ItemVectors:
        """Return factors, popularity and trend of the items, shape (n_items, rank + 2)."""
        return longest_first(np.column_stack([self.fold_in.narrow, self.popularity, self.trend]))


class Known(NamedTuple):
    """What the sources of one mixture know of some people.

    Parameters
    ----------
    interest
        What fold-in was told: each person's weighed items.
    vectors : shape (n_people, rank)
        Folded in.
    weights : shape (n_people, len(SOURCES))
        Of the blend.
    """

    basis: ModelBasis
    interest: Cells
    vectors: FloatMatrix
    covisitation: Cells
    frequency: Cells
    weights: FloatMatrix

    def split(self, people: IntVector, items: IntVector) -> npt.NDArray[np.float64]:
        """Split the scores of some items by source, shape (len(SOURCES), *items.shape); their sum is the score.

        Parameters
        ----------
        items
            Of any shape.
        people
            Of a shape that broadcasts to it.
        """
        parts = np.empty((len(SOURCES), *items.shape))
        parts[FOLD_IN] = np.einsum("...r,...r->...", self.basis.fold_in.item_factors[items], self.vectors[people])
        span = len(self.basis.popularity)
        for source, cells in ((COVISITATION, self.covisitation), (FREQUENCY, self.frequency)):
            parts[source] = _look_up(cells.people * span + cells.items, cells.values, people * span + items)
        parts[POPULARITY], parts[TREND] = self.basis.popularity[items], self.basis.trend[items]
        return parts * np.moveaxis(self.weights[people], -1, 0)

    def best(self, n: int, excluded: tuple[IntVector, IntVector] | None) -> "Listed":
        """Return everybody's `n` best items; see `ranking.rank_products`."""
        chosen = self._chosen(n + _SPARE, excluded)
        parts = self.split(np.arange(len(chosen.items))[:, None], chosen.items)
        scores = np.where(np.isfinite(chosen.scores), parts.sum(axis=0), -np.inf)
        order = np.lexsort((chosen.items, -scores), axis=1)[:, :n]
        kept, mains = (np.take_along_axis(of, order, axis=1) for of in (chosen.items, parts.argmax(axis=0)))
        listed = Listed(kept, np.take_along_axis(scores, order, axis=1), mains)
        for person in np.flatnonzero(~self._is_sure(listed, chosen)).tolist():
            self._rank_whole(person, listed, excluded)
        return listed

    def _chosen(self, n: int, excluded: tuple[IntVector, IntVector] | None) -> Ranked:
        by_source = self.weights.T
        dense = self.vectors * by_source[FOLD_IN][:, None], by_source[POPULARITY], by_source[TREND]
        added = [
            cells._replace(values=cells.values * by_source[source][cells.people])
            for source, cells in ((COVISITATION, self.covisitation), (FREQUENCY, self.frequency))
        ]
        rows = np.column_stack(dense).astype(np.float32)
        return rank_products(rows, self.basis.catalogue, n, added=added, excluded=excluded)

    def _is_sure(self, listed: "Listed", chosen: Ranked) -> npt.NDArray[np.bool_]:
        """Return for whom no item that was not chosen can be better than those listed, whatever was rounded."""
        if chosen.items.shape[1] == len(self.basis.popularity):
            return np.ones(len(chosen.items), bool)
        last = chosen.scores.min(axis=1).astype(np.float64)
        has_all = last == -np.inf
        last[has_all] = 0
        by_source = self.weights.T
        lengths = np.abs(by_source[FOLD_IN]) * np.linalg.norm(self.vectors, axis=1)
        lengths += np.abs(by_source[POPULARITY]) + np.abs(by_source[TREND])
        catalogue = self.basis.catalogue
        rounded = _ROUNDING * catalogue.vectors.shape[1] * (lengths * catalogue.lengths[0] + np.abs(last))
        return has_all | (listed.scores[:, -1] >= last + rounded)

    def _rank_whole(self, person: int, listed: "Listed", excluded: tuple[IntVector, IntVector] | None) -> None:
        """Rank one person's items by scores of double precision: where many are about equally good."""
        every = np.arange(len(self.basis.popularity))
        parts = self.split(np.array([person]), every)
        scores = parts.sum(axis=0)
        if excluded:
            scores[excluded[1][excluded[0] == person]] = -np.inf
        best = np.lexsort((every, -scores))[: listed.items.shape[1]]
        listed.items[person], listed.scores[person], listed.mains[person] = (
            best,
            scores[best],
            parts[:, best].argmax(axis=0),
        )


class Listed(NamedTuple):
    """Best items first, shape (n_people, n); what may not be listed has the score ``-inf`` and comes last.

    Parameters
    ----------
    mains
        The source that brought most of each score, an index into `SOURCES`.
    """

    items: IntVector
    scores: npt.NDArray[np.float64]
    mains: npt.NDArray[np.intp]


def _look_up(known: IntVector, values: npt.NDArray[np.floating[Any]], wanted: IntVector) -> npt.NDArray[np.float64]:
    """Return the value of each wanted key, 0 where there is none; `known` are sorted."""
    if not len(known):
        return np.zeros(wanted.shape)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, values[at], 0.0)


@dataclass
class ModelEvidence:
    """What a model says of some people."""

    basis: ModelBasis
    sequences: Sequences
    _folded: dict[float, tuple[Cells, FloatMatrix]] = field(default_factory=dict)
    _repeats: dict[tuple[float, float, float], Cells] = field(default_factory=dict)

    def known(self, mixture: Mixture) -> Known:
        """Return what a mixture's sources know; fold-in alone where the model has no other one."""
        interest, vectors = self.folded(mixture.rules.interest_half_life)
        blend = mixture.blend if self.basis.model.sources else _ALONE
        weights = blend.weights[contexts_of(self.sequences)]
        return Known(self.basis, interest, vectors, self._covisitation, self._frequency(mixture.rules), weights)

    def folded(self, half_life: float) -> tuple[Cells, FloatMatrix]:
        """Return each person's interest, and the vectors folded from it."""
        if half_life not in self._folded:
            model = self.basis.model
            interest = weigh_recent(self.sequences, half_life=half_life)
            people = len(self.sequences.indptr) - 1
            confidences = as_confidences(interest, people, alpha=model.alpha, power=model.weight_power)
            self._folded[half_life] = interest, fold_in_users(self.basis.fold_in, *confidences)
        return self._folded[half_life]

    @cached_property
    def _covisitation(self) -> Cells:
        wanted, sources = last_items(self.sequences, DEPTH), self.basis.model.sources
        return score_followers(wanted, sources.read_followers(wanted[wanted >= 0])) if sources else _NOTHING

    def _frequency(self, rules: SourceRules) -> Cells:
        read_by = rules.repeat_half_life, rules.repeat_trend_power, rules.repeat_rate_power
        if (sources := self.basis.model.sources) and read_by not in self._repeats:
            self._repeats[read_by] = weigh_repeats(self.sequences, self.basis.trend, sources.repeat_rate, rules)
        return self._repeats.get(read_by, _NOTHING)
