"""Blend weights from held-out time: coordinate search on the candidates that the sources propose. numpy only."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.blend import CONTEXTS, SOURCES, Blend, Evidence, default_blend
from afterclick.sequences import Cells
from afterclick.source_rules import SourceRules

FloatMatrix = npt.NDArray[np.floating[Any]]
TRIED = {
    "interest_half_life": (np.inf, 100.0, 50.0, 10.0),
    "repeat_half_life": (100.0, 200.0, 500.0, np.inf),
    "repeat_trend_power": (0.0, 0.25, 0.5),
    "repeat_rate_power": (0.0, 0.5),
}
"""Values of the rules, tried in this order, one rule after the other."""
OF_REPEATS = ("repeat_half_life", "repeat_trend_power", "repeat_rate_power")
"""Rules of own frequency: not tried where it does not count, and no further than the next value is better."""
PROPOSED = 40
"""Best items of every source that are candidates."""
K = 20
_STEPS = (0.0, 0.125, 0.25, 0.5, 0.7, 1.4, 2.0, 4.0, 8.0)
_SEEDS = (0.01, 0.1, 1.0)
_ROUNDS = 6
_ENOUGH = 50


class Candidates(NamedTuple):
    """Proposed items of held-out cases.

    Parameters
    ----------
    features : shape (n_cases, n_candidates, len(SOURCES))
        Places that stand for no item are NaN.
    is_relevant : shape (n_cases, n_candidates)
    relevant_count : shape (n_cases,)
        All relevant items of the case, proposed or not.
    contexts : shape (n_cases,)
    """

    features: FloatMatrix
    is_relevant: npt.NDArray[np.bool_]
    relevant_count: npt.NDArray[np.int64]
    contexts: npt.NDArray[np.int64]

    def take(self, cases: npt.NDArray[Any]) -> "Candidates":
        """Return some of the cases."""
        return Candidates(
            self.features[cases], self.is_relevant[cases], self.relevant_count[cases], self.contexts[cases]
        )


def propose(evidence: Evidence, excluded: Cells | None, relevant: Cells, contexts: npt.NDArray[np.int64]) -> Candidates:
    """Return the candidates of some cases: the best items of each source, with what every source says of them.

    Parameters
    ----------
    excluded
        Items that may not be listed.
    relevant
        What the person went on to choose.
    """
    count, n_items = evidence.fold_in.shape
    fold_in = evidence.fold_in.copy()
    if excluded is not None:
        fold_in[excluded.people, excluded.items] = -np.inf
    proposed = min(PROPOSED, n_items)
    shared = [np.argsort(-one, kind="stable")[:proposed] for one in (evidence.popularity, evidence.trend)]
    parts = [
        np.argpartition(-fold_in, proposed - 1, axis=1)[:, :proposed],
        *(np.broadcast_to(best, (count, proposed)) for best in shared),
        _strongest(evidence.covisitation, count, proposed),
        _strongest(evidence.frequency, count, proposed),
    ]
    items = np.sort(np.concatenate(parts, axis=1), axis=1)
    is_void = items < 0
    is_void[:, 1:] |= items[:, 1:] == items[:, :-1]
    people = np.arange(count)[:, None]
    if excluded is not None:
        is_void |= _look_up(excluded, items, n_items) > 0
    columns = (
        fold_in[people, items],
        _look_up(evidence.covisitation, items, n_items),
        _look_up(evidence.frequency, items, n_items),
        evidence.popularity[items],
        evidence.trend[items],
    )
    features = np.stack(columns, axis=2).astype(np.float32)
    features[is_void] = np.nan
    is_relevant = (_look_up(relevant, items, n_items) > 0) & ~is_void
    return Candidates(features, is_relevant, np.bincount(relevant.people, minlength=count), contexts)


def _strongest(cells: Cells, count: int, most: int) -> npt.NDArray[np.int64]:
    """Return each person's items of the highest values, shape (count, most); -1 where there are fewer."""
    order = np.lexsort((-cells.values, cells.people))
    people = cells.people[order]
    place = np.arange(len(order)) - np.searchsorted(people, people)
    found = np.full((count, most), -1)
    fits = place < most
    found[people[fits], place[fits]] = cells.items[order[fits]]
    return found


def _look_up(cells: Cells, items: npt.NDArray[np.int64], n_items: int) -> FloatMatrix:
    """Return the value of each person's items, 0 where there is none."""
    if not len(cells.items):
        return np.zeros(items.shape)
    keys = cells.people * n_items + cells.items
    wanted = np.arange(len(items))[:, None] * n_items + items
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((keys[place] == wanted) & (items >= 0), cells.values[place], 0.0)


def learn_blend(candidates: Candidates) -> Blend:
    """Return the weights that list most relevant items highest, context by context.

    Notes
    -----
    A context with too few cases takes the weights learned on all of them. The search only multiplies or drops
    weights, in a fixed order: the same cases give the same weights.
    """
    if not len(candidates.features):
        return default_blend()
    everybody = _search(candidates, default_blend().weights[0])
    rows = []
    for context in range(len(CONTEXTS)):
        cases = np.flatnonzero(candidates.contexts == context)
        own = candidates.take(cases)
        rows.append(_search(own, everybody) if len(cases) >= _ENOUGH else everybody)
    return Blend(np.array(rows))


def learn_rules(
    candidates: Callable[[SourceRules], list[Candidates]], rules: SourceRules, *, repeats: bool
) -> tuple[Blend, SourceRules]:
    """Return the blend and the rules that did best together.

    Parameters
    ----------
    candidates
        Rules to the candidates of the same held-out cases.
    repeats
        False: what a person had is not listed, so the rules of own frequency do not matter.
    """
    first: dict[str, Any] = {name: values[0] for name, values in TRIED.items()}
    best: tuple[float, Blend, SourceRules] = (-1.0, default_blend(), replace(rules, **first))
    for name, values in TRIED.items():
        if not repeats and name in OF_REPEATS:
            continue
        for value in values[1:] if best[0] >= 0 else values:
            changed: dict[str, Any] = {name: value}
            tried = replace(best[2], **changed)
            if not (parts := candidates(tried)):
                return default_blend(), rules
            cases = Candidates(*map(np.concatenate, zip(*parts, strict=True)))
            blend = learn_blend(cases)
            if (reached := quality(cases, blend.weights[cases.contexts])) > best[0]:
                best = reached, blend, tried
            elif name in OF_REPEATS:
                break
    return best[1], best[2]


def quality(candidates: Candidates, weights: npt.NDArray[np.floating[Any]]) -> float:
    """Return mean recall@20 + nDCG@20 of the candidates ranked by a weighted sum.

    Parameters
    ----------
    weights : shape (len(SOURCES),) or (n_cases, len(SOURCES))
    """
    scores = (candidates.features @ weights.astype(np.float32)[..., None])[..., 0]
    cases, places = np.nonzero(candidates.is_relevant)
    others, own = scores[cases], scores[cases, places][:, None]
    is_earlier = np.arange(scores.shape[1]) < places[:, None]
    ahead = np.count_nonzero((others > own) | ((others == own) & is_earlier), axis=1)  # NaN is ahead of nothing
    is_hit = ahead < K
    count = candidates.relevant_count[cases[is_hit]]
    discounts = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(discounts)[np.minimum(count, min(K, scores.shape[1])) - 1]
    return float((1 / count + discounts[ahead[is_hit]] / ideal).sum()) / max(len(scores), 1)


def _search(candidates: Candidates, start: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    weights, best = start.astype(np.float64), quality(candidates, start)
    for _ in range(_ROUNDS):
        before = best
        for place in range(len(SOURCES)):
            tried = [weights[place] * step for step in _STEPS] if weights[place] else list(_SEEDS)
            for value in tried:
                other = weights.copy()
                other[place] = value
                if other.any() and (found := quality(candidates, other)) > best + 1e-5:
                    weights, best = other, found
        if best - before < 1e-4:  # noqa: PLR2004 - no longer worth a round
            break
    return weights / weights.max()
