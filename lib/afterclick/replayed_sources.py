"""Every source as it would have stood at any moment of a recorded log. numpy only.

Exact event by event, yet computed in blocks: the counts stand at the oldest moment a block needs, and what
happened between that and an event's own moment is joined to it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from afterclick.blend import Evidence
from afterclick.covisitation import (
    DEPTH,
    Covisitation,
    Followers,
    Steps,
    read_followers,
    score_followers,
)
from afterclick.event_logs import EventLog
from afterclick.fold_in import FoldInBasis, fold_in_users
from afterclick.sequences import IntVector, Sequences, as_confidences, last_items, weigh_recent, weigh_repeats
from afterclick.source_rules import SourceRules


@dataclass(frozen=True)
class TrainedFactors:
    """A trained model over a log's catalogue; items it does not know have zero factors.

    Parameters
    ----------
    popularity : shape (n_items,)
        Shares of the most popular one.
    is_known : shape (n_items,)
        Items that were in its training data.
    """

    basis: FoldInBasis
    alpha: float
    weight_power: float
    popularity: npt.NDArray[np.float64]
    is_known: npt.NDArray[np.bool_]

    def vectors(self, sequences: Sequences, half_life: float) -> npt.NDArray[np.floating[Any]]:
        """Fold people in."""
        cells = weigh_recent(sequences, half_life=half_life)
        cells = cells.where(self.is_known[cells.items])
        return fold_in_users(
            self.basis, *as_confidences(cells, len(sequences.indptr) - 1, alpha=self.alpha, power=self.weight_power)
        )


@dataclass
class ReplayedSources:
    """Co-visitation and trend counts of a log's first `position` events."""

    log: EventLog
    rules: SourceRules
    frozen_at: int | None = None
    """Co-visitation and trend learn nothing from this event on; None: they learn from all."""
    position: int = 0
    table: Covisitation = field(init=False)
    trend: npt.NDArray[np.float64] = field(init=False)
    trend_ms: int = 0

    def __post_init__(self) -> None:
        """Begin with nothing."""
        n_items = len(self.log.item_ids)
        self.table = Covisitation(n_items, self.rules.followers)
        self.trend = np.zeros(n_items)

    def advance(self, position: int) -> None:
        """Take in the events up to `position`."""
        end = position if self.frozen_at is None else min(position, self.frozen_at)
        begin, end = self.position, max(end, self.position)
        if begin == end:
            return
        steps, made_by = self.log.steps
        first, last = np.searchsorted(made_by, [begin, end])
        for cut in range(first, last, 50_000):  # bounds memory when much is taken in at once
            part = slice(cut, min(cut + 50_000, last))
            self.table.add(Steps(steps.before[part], steps.after[part], steps.weights[part]))
        now_ms = int(self.log.event_ms[end - 1])
        half_life_ms = self.rules.trend_half_life_hours * 3_600_000
        ages = np.exp2((self.log.event_ms[begin:end] - now_ms) / half_life_ms)
        self.trend *= np.exp2((self.trend_ms - now_ms) / half_life_ms) if self.trend_ms else 0.0
        self.trend += np.bincount(self.log.items[begin:end], ages, minlength=len(self.trend))
        self.position, self.trend_ms = end, now_ms

    def evidence(self, factors: TrainedFactors, users: IntVector, visible: IntVector) -> tuple[Evidence, Sequences]:
        """Return what the sources say of people, each when the first `visible` events of the log are known.

        Parameters
        ----------
        visible
            None is smaller than one asked for before.
        """
        self.advance(int(visible.min(initial=len(self.log))))
        sequences = self.log.sequences(users, visible, length=self.rules.history_length)
        wanted = last_items(sequences, DEPTH)
        live = visible if self.frozen_at is None else np.minimum(visible, self.frozen_at)
        return self._evidence(factors, sequences, wanted, self._followers(wanted, live)), sequences

    def evidence_of(self, factors: TrainedFactors, sequences: Sequences) -> Evidence:
        """Return what the sources say of people with some histories, as the counts stand."""
        wanted = last_items(sequences, DEPTH)
        return self._evidence(factors, sequences, wanted, read_followers(self.table, wanted[wanted >= 0]))

    def _evidence(
        self, factors: TrainedFactors, sequences: Sequences, wanted: IntVector, followers: Followers
    ) -> Evidence:
        rules, trend = self.rules, self.trend / max(self.trend.max(), 1e-12)
        vectors = factors.vectors(sequences, rules.interest_half_life).astype(np.float32)
        repeats = weigh_repeats(
            sequences, trend, half_life=rules.repeat_half_life, trend_power=rules.repeat_trend_power
        )
        return Evidence(
            fold_in=vectors @ factors.basis.item_factors.astype(np.float32).T,
            covisitation=score_followers(wanted, followers),
            frequency=repeats,
            popularity=factors.popularity,
            trend=trend,
        )

    def _followers(self, wanted: IntVector, visible: IntVector) -> Followers:
        """Return rows of the table, and in them the steps made since `position` that are visible to each person."""
        people, _ = np.nonzero(wanted >= 0)
        rows = wanted[wanted >= 0]
        stored = read_followers(self.table, rows)
        steps, made_by = self.log.steps
        first, last = np.searchsorted(made_by, [self.position, int(visible.max(initial=0))])
        if first >= last:
            return stored
        span = len(self.log) + 1
        keys = steps.before[first:last] * span + made_by[first:last]
        order = np.argsort(keys, kind="stable")
        begin = np.searchsorted(keys[order], rows * span)
        sizes = np.searchsorted(keys[order], rows * span + visible[people]) - begin
        picked = np.repeat(begin - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        found = order[picked] + first
        row_of = np.repeat(np.arange(len(rows)), sizes)
        totals = stored.totals + np.bincount(row_of, steps.weights[found], minlength=len(rows))
        return Followers(
            np.concatenate([stored.sources, row_of]),
            np.concatenate([stored.followers, steps.after[found]]),
            np.concatenate([stored.weights, steps.weights[found]]),
            totals,
        )
