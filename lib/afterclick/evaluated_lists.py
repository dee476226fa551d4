"""The split protocol: everybody's list from the training part against what they chose in the other part."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.blend import Blend, blend_scores, contexts_of
from afterclick.blend_training import Candidates, learn_rules
from afterclick.evaluated_ranks import MODELS, with_intervals
from afterclick.event_logs import EventLog
from afterclick.factor_training import FactorTrainer, settings_to_try
from afterclick.mixture_training import Case, candidates
from afterclick.ranking import Ranked, top_n
from afterclick.replayed_sources import ReplayedSources, TrainedFactors
from afterclick.sequences import Cells, Sequences, sum_cells
from afterclick.setting_sections import ModelSettings
from afterclick.source_rules import SourceRules

_PEOPLE = 3_000
_CELLS = 4_000_000
K = 20
_NO_LISTS = Ranked(np.zeros((0, K), np.int64), np.zeros((0, K)))
_NOTHING = Cells(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


class Held(NamedTuple):
    """Which events are for training and which are held out."""

    train: npt.NDArray[np.bool_]
    test: npt.NDArray[np.bool_]


class Side(NamedTuple):
    """A block of people: what is known of them and what they chose."""

    sequences: Sequences
    relevant: Cells
    seen: Cells


def best_settings(log: EventLog, held: Held, settings: ModelSettings, *, repeats: bool) -> ModelSettings:
    """Return the hyper-parameters of the grid with the best nDCG@20 on held-out events."""
    best, best_quality = settings, -1.0
    for tried in settings_to_try(settings):
        factors = FactorTrainer(log, tried, is_train=held.train)(len(log), None)
        found = [_ndcg(factors, side, repeats=repeats) for side in sides(log, held, factors, repeats=repeats)]
        quality = float(np.concatenate(found).mean()) if found else 0.0
        if quality > best_quality:
            best, best_quality = tried, quality
    return best


def learn_split(
    log: EventLog, held: Held, settings: ModelSettings, rules: SourceRules, *, repeats: bool
) -> tuple[Blend, SourceRules]:
    """Learn the blend and the half-life of interest on held-out events."""
    factors = FactorTrainer(log, settings, is_train=held.train)(len(log), None)
    sources = _trained_sources(log, held, rules)
    cases = [
        Case(sources.observe_histories(side.sequences), None if repeats else side.seen, side.relevant)
        for side in sides(log, held, factors, repeats=repeats)
    ]

    def propose_by(tried: SourceRules) -> list[Candidates]:
        return [candidates(one, factors, tried) for one in cases]

    return learn_rules(propose_by, rules, repeats=repeats)


def split_figures(
    log: EventLog,
    held: Held,
    settings: ModelSettings,
    rules: SourceRules,
    blend: Blend,
    *,
    repeats: bool,
    tick: Callable[[int], Any],
) -> dict[str, Any]:
    """Return the figures of every model over people with a past and a known item to find; zeros where there are none."""
    factors = FactorTrainer(log, settings, is_train=held.train)(len(log), None)
    sources = _trained_sources(log, held, rules)
    nobody = measure_lists(_NO_LISTS, _NOTHING, factors.popularity)
    per_case = {name: [nobody] for name in MODELS}
    listed = {name: np.zeros(len(log.item_ids), bool) for name in MODELS}
    for side in sides(log, held, factors, repeats=repeats, everybody=True):
        for name, scores in _all_scores(sources, rules, factors, side, blend).items():
            scores[:, ~factors.is_known] = -np.inf
            if not repeats:
                scores[side.seen.people, side.seen.items] = -np.inf
            ranked = top_n(scores, K)
            per_case[name].append(measure_lists(ranked, side.relevant, factors.popularity))
            listed[name][ranked.items[is_listed(ranked)]] = True
        tick(len(side.sequences.indptr) - 1)
    models = {}
    for name, parts in per_case.items():
        columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        models[name] = with_intervals(columns) | {
            "coverage": round(float(listed[name].sum() / max(factors.is_known.sum(), 1)), 5)
        }
    lengths = np.concatenate([part["precision@10"] for part in per_case["blend"]])
    return {"cases": len(lengths), "models": models, "by_history": []}


def sides(
    log: EventLog, held: Held, factors: TrainedFactors, *, repeats: bool, everybody: bool = False
) -> Iterator[Side]:
    """Yield blocks of the people who have training events and something to find; a sample unless `everybody`."""
    train, test = np.flatnonzero(held.train), np.flatnonzero(held.test)
    chosen = sum_cells(log.users[test], log.items[test], np.ones(len(test)))
    counted = factors.is_known[chosen.items]
    if not repeats:
        span = len(log.item_ids)
        counted &= ~np.isin(chosen.people * span + chosen.items, log.users[train] * span + log.items[train])
    counted &= np.isin(chosen.people, log.users[train])
    chosen = chosen.where(counted)
    people = np.unique(chosen.people)
    if not everybody:
        people = people[:: max(1, -(-len(people) // _PEOPLE))]
    order = train[np.argsort(log.users[train], kind="stable")]
    starts = np.searchsorted(log.users[order], np.arange(len(log.user_ids) + 1))
    size = int(np.clip(_CELLS // len(log.item_ids), 32, 1024))
    for begin in range(0, len(people), size):
        some = people[begin : begin + size]
        yield _side(log, order, starts, some, chosen)


def _side(log: EventLog, order: Any, starts: Any, people: Any, chosen: Cells) -> Side:
    sizes = starts[people + 1] - starts[people]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    events = order[np.arange(indptr[-1]) + np.repeat(starts[people] - indptr[:-1], sizes)]
    sequences = Sequences(indptr, log.items[events], log.weights[events])
    is_here = np.isin(chosen.people, people)
    relevant = Cells(np.searchsorted(people, chosen.people[is_here]), chosen.items[is_here], chosen.values[is_here])
    return Side(sequences, relevant, sum_cells(sequences.people, sequences.items, np.ones(len(events))))


def _trained_sources(log: EventLog, held: Held, rules: SourceRules) -> ReplayedSources:
    sources = ReplayedSources(log.only(held.train), rules)
    sources.advance(len(sources.log))
    return sources


def _all_scores(
    sources: ReplayedSources, rules: SourceRules, factors: TrainedFactors, side: Side, blend: Blend
) -> dict[str, npt.NDArray[Any]]:
    evidence = sources.observe_histories(side.sequences).evidence(factors, rules)
    items = factors.basis.narrow.T
    popularity = np.repeat(factors.popularity[None, :], len(evidence.fold_in), axis=0)  # 64 bits: ties need them
    covisitation, frequency = np.zeros_like(popularity), np.zeros_like(popularity)
    covisitation[evidence.covisitation.people, evidence.covisitation.items] = evidence.covisitation.values
    frequency[evidence.frequency.people, evidence.frequency.items] = evidence.frequency.values
    return {
        "popularity": popularity,
        "nightly": factors.vectors(side.sequences, np.inf).astype(np.float32) @ items,
        "fold_in": evidence.fold_in.copy(),
        "covisitation": covisitation + popularity * 1e-6,
        "frequency": frequency + popularity * 1e-6,
        "blend": blend_scores(evidence, blend.weights[contexts_of(side.sequences)]),
    }


def measure_lists(ranked: Ranked, relevant: Cells, popularity: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[Any]]:
    """Return the figures of each list against the relevant items of its person."""
    items, listed = ranked.items, is_listed(ranked)
    flags = np.zeros((len(items), len(popularity)), bool)
    flags[relevant.people, relevant.items] = True
    counts = flags.sum(axis=1)
    hits = np.take_along_axis(flags, items, axis=1)
    surprise = -np.log2(np.maximum(popularity[items] / popularity.sum(), 1e-12))
    discounts = 1 / np.log2(np.arange(2, items.shape[1] + 2))
    ideal = np.cumsum(discounts)
    first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)

    def ndcg(k: int) -> npt.NDArray[Any]:
        k = min(k, items.shape[1])
        return hits[:, :k] @ discounts[:k] / ideal[np.minimum(counts, k) - 1]

    return {
        "recall@20": hits.sum(axis=1) / counts,
        "recall@10": hits[:, :10].sum(axis=1) / counts,
        "precision@10": hits[:, :10].mean(axis=1),
        "ndcg@10": ndcg(10),
        "ndcg@20": ndcg(20),
        "hr@20": hits.any(axis=1),
        "mrr@20": first,
        "novelty@20": (surprise * listed).sum(axis=1) / np.maximum(listed.sum(axis=1), 1),
    }


def is_listed(ranked: Ranked) -> npt.NDArray[np.bool_]:
    """Return which places of lists hold an item; the rest, of a short catalogue, is what may not be listed."""
    return np.isfinite(ranked.scores)


def _ndcg(factors: TrainedFactors, side: Side, *, repeats: bool) -> npt.NDArray[Any]:
    scores = factors.vectors(side.sequences, np.inf).astype(np.float32) @ factors.basis.narrow.T
    scores[:, ~factors.is_known] = -np.inf
    if not repeats:
        scores[side.seen.people, side.seen.items] = -np.inf
    return measure_lists(top_n(scores, K), side.relevant, factors.popularity)["ndcg@20"]
