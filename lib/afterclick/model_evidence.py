"""What a model says of people's histories; what several mixtures read alike is computed once. numpy only."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from afterclick.blend import Evidence, blend_scores, contexts_of
from afterclick.covisitation import DEPTH, score_followers
from afterclick.fold_in import FoldInBasis, fold_in_users
from afterclick.listed_reasons import Scored
from afterclick.mixtures import Mixture
from afterclick.models import Model
from afterclick.sequences import Cells, Sequences, as_confidences, last_items, weigh_recent, weigh_repeats
from afterclick.source_rules import SourceRules

FloatMatrix = npt.NDArray[np.floating[Any]]
_NOTHING = Cells(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True)
class ModelBasis:
    """A model with what is computed from it once.

    Parameters
    ----------
    item_factors : shape (rank, n_items)
        Those of the basis, transposed.
    popularity, trend : shape (n_items,)
        Shares of the highest.
    """

    model: Model
    fold_in: FoldInBasis
    item_factors: npt.NDArray[np.float64]
    popularity: npt.NDArray[np.float64]
    trend: npt.NDArray[np.float64]


@dataclass
class ModelEvidence:
    """What a model says of some people."""

    basis: ModelBasis
    sequences: Sequences
    _folded: dict[float, tuple[Cells, FloatMatrix]] = field(default_factory=dict)
    _repeats: dict[tuple[float, float, float], Cells] = field(default_factory=dict)

    def scored(self, mixture: Mixture) -> Scored:
        """Return everybody's score of every item: the blend, or fold-in alone where the model has no other source."""
        interest, fold_in = self.folded(mixture.rules.interest_half_life)
        weights = mixture.blend.weights[contexts_of(self.sequences)]
        shares = self.basis.popularity, self.basis.trend
        if not self.basis.model.sources:
            return Scored(fold_in, Evidence(fold_in, _NOTHING, _NOTHING, *shares), weights, interest)
        evidence = Evidence(fold_in, self._covisitation, self._frequency(mixture.rules), *shares)
        return Scored(blend_scores(evidence, weights), evidence, weights, interest)

    def folded(self, half_life: float) -> tuple[Cells, FloatMatrix]:
        """Return each person's interest, and the inner products of the vectors folded from it with every item."""
        if half_life not in self._folded:
            model = self.basis.model
            interest = weigh_recent(self.sequences, half_life=half_life)
            people = len(self.sequences.indptr) - 1
            confidences = as_confidences(interest, people, alpha=model.alpha, power=model.weight_power)
            vectors = fold_in_users(self.basis.fold_in, *confidences)
            self._folded[half_life] = interest, vectors @ self.basis.item_factors
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
