"""Test, then learn: each event is predicted from what was visible before it; models retrain at midnight."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.blend import Blend, contexts_of
from afterclick.blend_training import Candidates, learn_rules, propose
from afterclick.evaluated_ranks import mid_ranks, rank_targets
from afterclick.event_logs import EventLog
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
    """Held-out events that a blend is learned on, at most."""


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
    replay: Replay, days: list[tuple[int, int]], blend: Blend, tick: Callable[[int], Any] = lambda _: None
) -> Ranks:
    """Predict the events of some days in order."""
    sources = ReplayedSources(replay.log, replay.rules, None if replay.is_live else days[0][0])
    neighbours = None if replay.is_live else SessionNeighbours(replay.log, days[0][0])
    events, lengths, parts = [], [], []
    factors: TrainedFactors | None = None
    for begin, end in days:
        factors = replay.train(begin, factors)
        for block in _blocks(replay, begin, end):
            users, targets = replay.log.users[block], replay.log.items[block]
            evidence, sequences = sources.evidence(factors, users, replay.visible[block])
            nightly = _nightly(replay, factors, users, np.minimum(replay.visible[block], begin))
            seen = None if replay.repeats else _seen(replay, block)
            is_case = np.ones(len(block), bool) if seen is None else ~_is_seen(seen, targets)
            ranks = rank_targets(evidence, sequences, nightly, targets, blend, seen=seen, is_known=factors.is_known)
            if neighbours is not None:
                votes = neighbours.score(sequences)
                if seen is not None:
                    votes[seen.people, seen.items] = -np.inf
                ranks["vsknn"] = mid_ranks(votes, targets)
            events.append(block[is_case])
            lengths.append(np.diff(sequences.indptr)[is_case])
            parts.append({name: places[is_case] for name, places in ranks.items()})
            tick(len(block))
    return Ranks(
        np.concatenate(events),
        np.concatenate(lengths),
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
    )


def _nightly(
    replay: Replay, factors: TrainedFactors, users: IntVector, before: IntVector
) -> npt.NDArray[np.floating[Any]]:
    """Return scores of people as the model of midnight knew them; each person is folded in once."""
    span = len(replay.log) + 1
    keys, person_of = np.unique(users * span + before, return_inverse=True)
    known = replay.log.sequences(keys // span, keys % span, length=replay.rules.history_length)
    vectors = factors.vectors(known, np.inf).astype(np.float32)
    return (vectors @ factors.basis.item_factors.astype(np.float32).T)[person_of]


def learn_from(replay: Replay, begin: int, end: int) -> tuple[Blend, SourceRules]:
    """Learn blend and half-life on events begin..end, predicted as in a replay by a model trained before them."""
    factors = replay.train(begin, None)
    return learn_rules(lambda rules: list(cases(replace(replay, rules=rules), factors, begin, end)), replay.rules)


def cases(replay: Replay, factors: TrainedFactors, begin: int, end: int) -> Iterator[Candidates]:
    """Yield candidates of held-out events, spread evenly where there are many."""
    sources = ReplayedSources(replay.log, replay.rules, None if replay.is_live else begin)
    every = max(1, -(-(end - begin) // replay.most_cases))
    for block in _blocks(replay, begin, end, every=every):
        users, targets = replay.log.users[block], replay.log.items[block]
        evidence, sequences = sources.evidence(factors, users, replay.visible[block])
        seen = None if replay.repeats else _seen(replay, block)
        relevant = Cells(np.arange(len(block)), targets, np.ones(len(block)))
        found = propose(evidence, seen, relevant, contexts_of(sequences))
        if seen is not None:
            found = found.take(~_is_seen(seen, targets))
        yield found


def _blocks(replay: Replay, begin: int, end: int, *, every: int = 1) -> Iterator[IntVector]:
    size = int(np.clip(_CELLS // len(replay.log.item_ids), 32, 512))
    chosen = np.arange(begin, end, every)
    for start in range(0, len(chosen), size):
        yield chosen[start : start + size]


def _seen(replay: Replay, block: IntVector) -> Cells:
    whole = replay.log.sequences(replay.log.users[block], replay.visible[block], length=len(replay.log))
    return sum_cells(whole.people, whole.items, np.ones(len(whole.items)))


def _is_seen(seen: Cells, targets: IntVector) -> npt.NDArray[np.bool_]:
    span = int(max(seen.items.max(initial=0), targets.max(initial=0))) + 1
    return np.isin(np.arange(len(targets)) * span + targets, seen.people * span + seen.items)
