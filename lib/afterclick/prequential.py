"""Test, then learn: each event is predicted from what was visible before it; models retrain at midnight."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.evaluated_ranks import mid_ranks, rank_targets
from afterclick.event_logs import EventLog
from afterclick.mixtures import GAP_MS, Mixture, Mixtures, is_back
from afterclick.replayed_sources import ReplayedSources, TrainedFactors
from afterclick.sequences import Cells, IntVector, sum_cells
from afterclick.session_neighbours import SessionNeighbours
from afterclick.source_rules import SourceRules

DAY_MS = 86_400_000
_CELLS = 2_000_000
Trainer = Callable[[int, TrainedFactors | None], TrainedFactors]
"""Position in the log and the model before -> the model trained on the events before that position."""


@dataclass(frozen=True)
class Replay:
    """What a prequential run is told."""

    log: EventLog
    visible: IntVector
    rules: SourceRules
    repeats: bool
    train: Trainer
    is_live: bool = True
    """False: co-visitation and trend learn from the training part only."""
    most_cases: int = 4_000
    """Held-out events, and held-out visits, that a blend is learned on, at most."""
    gap_ms: int = GAP_MS
    """A gap greater than this ends a visit."""


class Ranks(NamedTuple):
    """Places by model, with the number of earlier events that were visible."""

    events: IntVector
    lengths: IntVector
    by_model: dict[str, npt.NDArray[np.float64]]


def midnights(log: EventLog, begin: int, end: int) -> list[tuple[int, int]]:
    """Return the ranges of events between midnights (UTC)."""
    days = log.event_ms[begin:end] // DAY_MS
    cuts = [begin, *(np.flatnonzero(np.diff(days)) + 1 + begin).tolist(), end]
    return [(first, last) for first, last in pairwise(cuts) if last > first]


def replay_ranks(
    replay: Replay, days: list[tuple[int, int]], mixtures: Mixtures, tick: Callable[[int], Any] = lambda _: None
) -> Ranks:
    """Predict the events of some days in order."""
    frozen_at = None if replay.is_live else days[0][0]
    sources = ReplayedSources(replay.log, replay.rules, frozen_at)
    run = _Run(replay, sources, None if frozen_at is None else SessionNeighbours(replay.log, frozen_at))
    found: list[Ranks] = []
    factors: TrainedFactors | None = None
    for begin, end in days:
        factors = replay.train(begin, factors)
        for block in blocks(replay.log, np.arange(begin, end)):
            for events, mixture in _by_mixture(replay, block, mixtures):
                found.append(run.rank(factors, events, mixture, trained_on=begin))
            tick(len(block))
    return join_ranks(found)


def join_ranks(parts: Sequence[Ranks]) -> Ranks:
    """Return the places of several parts together, events in order."""
    events = np.concatenate([part.events for part in parts])
    order = np.argsort(events, kind="stable")
    return Ranks(
        events[order],
        np.concatenate([part.lengths for part in parts])[order],
        {name: np.concatenate([part.by_model[name] for part in parts])[order] for name in parts[0].by_model},
    )


def _by_mixture(replay: Replay, block: IntVector, mixtures: Mixtures) -> list[tuple[IntVector, Mixture]]:
    """Split events by whether their person is back; the part that sees less first, for counts only go forward."""
    back = is_returning(replay, block, gap_ms=mixtures.gap_ms)
    parts = [(block[~back], mixtures.in_visit), (block[back], mixtures.returning)]
    return sorted((part for part in parts if len(part[0])), key=lambda part: int(replay.visible[part[0][0]]))


def is_returning(replay: Replay, events: IntVector, *, gap_ms: int) -> npt.NDArray[np.bool_]:
    """Return whether each event's person had been away when it happened, as far as was visible."""
    log = replay.log
    return is_back(log.last_ms(log.users[events], replay.visible[events]), log.event_ms[events], gap_ms=gap_ms)


@dataclass(frozen=True)
class _Run:
    """What a replay goes on with from block to block."""

    replay: Replay
    sources: ReplayedSources
    neighbours: SessionNeighbours | None

    def rank(self, factors: TrainedFactors, events: IntVector, mixture: Mixture, *, trained_on: int) -> Ranks:
        """Rank what happened under every model; items that may not be listed are no cases."""
        replay, log = self.replay, self.replay.log
        users, targets, visible = log.users[events], log.items[events], replay.visible[events]
        observed = self.sources.observe(users, visible)
        evidence, sequences = observed.evidence(factors, mixture.rules), observed.sequences
        nightly = _nightly(replay, factors, users, np.minimum(visible, trained_on))
        seen = None if replay.repeats else seen_by(replay, events)
        is_case = np.ones(len(events), bool) if seen is None else ~_is_seen(seen, targets)
        ranks = rank_targets(evidence, sequences, nightly, targets, mixture.blend, seen=seen, is_known=factors.is_known)
        if self.neighbours is not None:
            votes = self.neighbours.score(sequences)
            if seen is not None:
                votes[seen.people, seen.items] = -np.inf
            ranks["vsknn"] = mid_ranks(votes, targets)
        lengths = np.diff(sequences.indptr)[is_case]
        return Ranks(events[is_case], lengths, {name: places[is_case] for name, places in ranks.items()})


def _nightly(
    replay: Replay, factors: TrainedFactors, users: IntVector, before: IntVector
) -> npt.NDArray[np.floating[Any]]:
    """Return scores of people as the model of midnight knew them; each person is folded in once."""
    span = len(replay.log) + 1
    keys, person_of = np.unique(users * span + before, return_inverse=True)
    known = replay.log.sequences(keys // span, keys % span, length=replay.rules.history_length)
    vectors = factors.vectors(known, np.inf).astype(np.float32)
    return (vectors @ factors.basis.narrow.T)[person_of]


def blocks(log: EventLog, events: IntVector) -> Iterator[IntVector]:
    """Yield events in blocks whose scores fit into memory."""
    size = int(np.clip(_CELLS // len(log.item_ids), 32, 512))
    for start in range(0, len(events), size):
        yield events[start : start + size]


def seen_by(replay: Replay, events: IntVector) -> Cells:
    """Return what each event's person had before it."""
    whole = replay.log.sequences(replay.log.users[events], replay.visible[events], length=len(replay.log))
    return sum_cells(whole.people, whole.items, np.ones(len(whole.items)))


def _is_seen(seen: Cells, targets: IntVector) -> npt.NDArray[np.bool_]:
    span = int(max(seen.items.max(initial=0), targets.max(initial=0))) + 1
    return np.isin(np.arange(len(targets)) * span + targets, seen.people * span + seen.items)
