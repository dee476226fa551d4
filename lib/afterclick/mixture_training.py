"""Learn from held-out time how to list in a visit (event by event) and for people who come back (whole visits)."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from afterclick.blend import contexts_of, default_blend
from afterclick.blend_training import Candidates, learn_rules, propose
from afterclick.mixtures import Mixture, Mixtures
from afterclick.prequential import Replay, blocks, is_returning, seen_by
from afterclick.replayed_sources import Observed, ReplayedSources, TrainedFactors
from afterclick.sequences import Cells, IntVector, sum_cells
from afterclick.source_rules import SourceRules

FEWEST = 50
"""Held-out cases that a mixture of its own is learned on; with fewer the other one serves."""


class Asked(NamedTuple):
    """Held-out moments at which a list is wanted, and what it should name.

    Parameters
    ----------
    events : shape (n_cases,)
        Number in the log of the event that happened then, ascending.
    wanted
        Its `people` are numbers of cases.
    """

    events: IntVector
    wanted: Cells

    def spread(self, most: int) -> "Asked":
        """Return every n-th case, so that at most `most` remain."""
        kept = np.arange(0, len(self.events), max(1, -(-len(self.events) // most)))
        return self.take(kept)

    def take(self, kept: IntVector) -> "Asked":
        """Return some cases, in ascending order."""
        is_kept = np.isin(self.wanted.people, kept)
        wanted = self.wanted.where(is_kept)
        return Asked(self.events[kept], wanted._replace(people=np.searchsorted(kept, wanted.people)))


def learn_mixtures(replay: Replay, begin: int, end: int) -> Mixtures:
    """Learn both mixtures on events begin..end, predicted as in a replay by a model trained before them.

    Notes
    -----
    In a visit the case is the next event; of people who come back it is the whole visit, as they had been before it.
    """
    factors = replay.train(begin, None)
    frozen_at = None if replay.is_live else begin
    asked = [one.spread(replay.most_cases) for one in (next_events(replay, begin, end), visits(replay, begin, end))]
    learned = [_learn(replay, factors, one, frozen_at) if len(one.events) >= FEWEST else None for one in asked]
    fallback = next((one for one in learned if one), Mixture(default_blend(), replay.rules))
    in_visit, returning = (one or fallback for one in learned)
    return Mixtures(in_visit, returning, replay.gap_ms)


def next_events(replay: Replay, begin: int, end: int) -> Asked:
    """Return the events begin..end of people in a visit, and of those without a past."""
    events = np.arange(begin, end)
    events = events[~is_returning(replay, events, gap_ms=replay.gap_ms)]
    return Asked(events, Cells(np.arange(len(events)), replay.log.items[events], np.ones(len(events))))


def visits(replay: Replay, begin: int, end: int) -> Asked:
    """Return the visits that began among events begin..end, of people who had come before; each up to `end`."""
    first = replay.log.visits(gap_ms=replay.gap_ms)[begin:end]
    starts = np.unique(first[first >= begin])
    starts = starts[is_returning(replay, starts, gap_ms=replay.gap_ms)]
    is_wanted = np.isin(first, starts)
    cases = np.searchsorted(starts, first[is_wanted])
    return Asked(starts, sum_cells(cases, replay.log.items[begin:end][is_wanted], np.ones(len(cases))))


class Case(NamedTuple):
    """A block of held-out cases: what was known, what may not be listed, what was wanted."""

    observed: Observed
    seen: Cells | None
    wanted: Cells


def _learn(replay: Replay, factors: TrainedFactors, asked: Asked, frozen_at: int | None) -> Mixture:
    cases = list(observe(replay, asked, frozen_at))

    def propose_by(rules: SourceRules) -> list[Candidates]:
        return [candidates(one, factors, rules) for one in cases]

    return Mixture(*learn_rules(propose_by, replay.rules, repeats=replay.repeats))


def observe(replay: Replay, asked: Asked, frozen_at: int | None = None) -> Iterator[Case]:
    """Yield what was known at each case, in blocks: the same for all rules that are tried.

    Parameters
    ----------
    frozen_at
        Co-visitation, trend and repeats learn nothing from this event on; None: they learn from all.
    """
    sources = ReplayedSources(replay.log, replay.rules, frozen_at)
    for cases in blocks(replay.log, np.arange(len(asked.events))):
        events, wanted = asked.take(cases)
        observed = sources.observe(replay.log.users[events], replay.visible[events])
        seen = None if replay.repeats else seen_by(replay, events)
        if seen is not None:
            span = len(replay.log.item_ids)
            wanted = wanted.where(~np.isin(wanted.people * span + wanted.items, seen.people * span + seen.items))
        yield Case(observed, seen, wanted)


def candidates(case: Case, factors: TrainedFactors, rules: SourceRules) -> Candidates:
    """Return what the sources propose for each case under some rules; those that wanted nothing listable are left out."""
    observed, seen, wanted = case
    proposed = propose(observed.evidence(factors, rules), seen, wanted, contexts_of(observed.sequences))
    return proposed.take(np.unique(wanted.people))
