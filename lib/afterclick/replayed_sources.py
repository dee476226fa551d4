"""Every source as it would have stood at any moment of a recorded log. numpy only.

Exact event by event, yet computed in blocks: the counts stand at the oldest moment a block needs, and what
happened between that and an event's own moment is joined to it.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.blend import Evidence, share_of_best
from afterclick.covisitation import (
    DEPTH,
    Covisitation,
    Followers,
    Steps,
    read_followers,
    score_covisitation,
    score_followers,
)
from afterclick.event_logs import EventLog
from afterclick.fold_in import FoldInBasis, fold_in_users
from afterclick.sequences import (
    Cells,
    IntVector,
    Sequences,
    as_confidences,
    last_items,
    repeat_rates,
    weigh_recent,
    weigh_repeats,
)
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


class Observed(NamedTuple):
    """What was known of some people, before a model and its rules read it.

    Parameters
    ----------
    covisitation
        Scores of what followed their newest items.
    trend, repeat_rate : shape (n_items,)
        As `ModelSources` has them, the trend as shares of the highest.
    """

    sequences: Sequences
    covisitation: Cells
    trend: npt.NDArray[np.float64]
    repeat_rate: npt.NDArray[np.float64]

    def evidence(self, factors: TrainedFactors, rules: SourceRules) -> Evidence:
        """Return what the sources say of it."""
        vectors = factors.vectors(self.sequences, rules.interest_half_life).astype(np.float32)
        return Evidence(
            fold_in=vectors @ factors.basis.narrow.T,
            covisitation=self.covisitation,
            frequency=weigh_repeats(self.sequences, self.trend, self.repeat_rate, rules),
            popularity=factors.popularity,
            trend=self.trend,
        )


@dataclass
class ReplayedSources:
    """Co-visitation, trend and repeats of a log's first `position` events."""

    log: EventLog
    rules: SourceRules
    frozen_at: int | None = None
    """Co-visitation and trend learn nothing from this event on; None: they learn from all."""
    position: int = 0
    table: Covisitation = field(init=False)
    trend: npt.NDArray[np.float64] = field(init=False)
    trend_ms: int = 0
    buyers: npt.NDArray[np.int64] = field(init=False)
    """Shape (2, n_items): how many people had an item, and how many had it again."""
    _read: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None

    def __post_init__(self) -> None:
        """Begin with nothing."""
        n_items = len(self.log.item_ids)
        self.table = Covisitation(n_items, self.rules.followers)
        self.trend = np.zeros(n_items)
        self.buyers = np.zeros((2, n_items), np.int64)

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
        for time in (0, 1):
            had = self.log.items[begin:end][self.log.times[begin:end] == time]
            self.buyers[time] += np.bincount(had, minlength=len(self.trend))
        self.position, self.trend_ms, self._read = end, now_ms, None

    def observe(self, users: IntVector, visible: IntVector) -> Observed:
        """Return what is known of people, each when the first `visible` events of the log are.

        Parameters
        ----------
        visible
            None is smaller than one asked for before.
        """
        self.advance(int(visible.min(initial=len(self.log))))
        sequences = self.log.sequences(users, visible, length=self.rules.history_length)
        wanted = last_items(sequences, DEPTH)
        live = visible if self.frozen_at is None else np.minimum(visible, self.frozen_at)
        return self._observed(sequences, score_followers(wanted, self._followers(wanted, live)))

    def observe_histories(self, sequences: Sequences) -> Observed:
        """Return what is known of people with some histories, as the counts stand."""
        return self._observed(sequences, score_covisitation(sequences, self.table))

    def _observed(self, sequences: Sequences, covisitation: Cells) -> Observed:
        if self._read is None:  # the same arrays for all blocks that see the same counts
            self._read = share_of_best(self.trend), repeat_rates(*self.buyers)
        return Observed(sequences, covisitation, *self._read)

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
