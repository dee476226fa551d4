"""Ranks of what people chose under each model, and the figures made of them. numpy only."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from afterclick.blend import Blend, Evidence, blend_scores, contexts_of
from afterclick.sequences import Cells, IntVector, Sequences

FloatMatrix = npt.NDArray[np.floating[Any]]
MODELS = ("popularity", "nightly", "fold_in", "covisitation", "frequency", "blend")
HISTORY_STARTS = (0, 1, 2, 3, 6, 11, 21, 51)
"""Numbers of earlier events at which a row of the cold-start table begins."""


def rank_targets(
    evidence: Evidence,
    sequences: Sequences,
    nightly: FloatMatrix,
    targets: IntVector,
    blend: Blend,
    *,
    seen: Cells | None,
    is_known: npt.NDArray[np.bool_],
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the place (0 = first, ties at mid-rank) of each person's next item under every model.

    Parameters
    ----------
    nightly : shape (n_people, n_items)
        Scores of the model as it stood at midnight; zero rows for people it did not know.
    seen
        Items that may not be listed.
    is_known
        Items the model was trained on; its own lists name no others.
    """
    popularity = np.where(is_known, evidence.popularity, -1.0)[None, :].astype(np.float32)
    popular = np.repeat(popularity, len(targets), axis=0)
    masked = np.where(is_known, 0, -np.inf).astype(np.float32)
    cold = np.diff(sequences.indptr) == 0
    weights = blend.weights[contexts_of(sequences)]
    dense = {
        "popularity": popular,
        "nightly": np.where((nightly != 0).any(axis=1)[:, None], nightly + masked, popular),
        "fold_in": np.where(cold[:, None], popular, evidence.fold_in + masked),
        "covisitation": _filled(evidence.covisitation, cold, popular),
        "frequency": _filled(evidence.frequency, cold, popular),
        "blend": blend_scores(evidence, weights),
    }
    ranks = {}
    for name, scores in dense.items():
        if seen is not None:
            scores[seen.people, seen.items] = -np.inf
        ranks[name] = mid_ranks(scores, targets)
    return ranks


def mid_ranks(scores: FloatMatrix, targets: IntVector) -> npt.NDArray[np.float64]:
    """Return the place of each row's target, 0 = first; among equals the middle one."""
    own = scores[np.arange(len(targets)), targets][:, None]
    return (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2


def _filled(cells: Cells, cold: npt.NDArray[np.bool_], popular: FloatMatrix) -> FloatMatrix:
    scores = np.zeros_like(popular)
    scores[cells.people, cells.items] = cells.values
    scores[cold] = popular[cold]
    return scores


def figures_of_ranks(ranks: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return the figures of one chosen item per case, each with half the width of its 95 % interval."""
    per_case = {
        "hr@20": ranks < 20,  # noqa: PLR2004
        "mrr@20": np.where(ranks < 20, 1 / (ranks + 1), 0),  # noqa: PLR2004
        "ndcg@10": np.where(ranks < 10, 1 / np.log2(ranks + 2), 0),  # noqa: PLR2004
        "ndcg@20": np.where(ranks < 20, 1 / np.log2(ranks + 2), 0),  # noqa: PLR2004
        "recall@10": ranks < 10,  # noqa: PLR2004
        "recall@20": ranks < 20,  # noqa: PLR2004
        "precision@10": (ranks < 10) / 10,  # noqa: PLR2004
    }
    return with_intervals(per_case)


def with_intervals(per_case: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Return means and, under ``ci95``, lower and upper end of the normal 95 % interval of each."""
    figures: dict[str, Any] = {}
    intervals = {}
    for name, measured in per_case.items():
        values = np.asarray(measured, float)
        mean = float(values.mean()) if len(values) else 0.0
        half = 1.96 * float(values.std(ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else 0.0
        figures[name] = round(mean, 5)
        intervals[name] = [round(mean - half, 5), round(mean + half, 5)]
    return figures | {"ci95": intervals}


def table_by_history(lengths: IntVector, ranks: Mapping[str, npt.NDArray[np.float64]]) -> list[dict[str, Any]]:
    """Return HR@20 and MRR@20 of each model by the number of earlier events."""
    rows = []
    group = np.searchsorted(HISTORY_STARTS, lengths, side="right") - 1
    for number, start in enumerate(HISTORY_STARTS):
        cases = group == number
        if not cases.any():
            continue
        last = HISTORY_STARTS[number + 1] - 1 if number + 1 < len(HISTORY_STARTS) else None
        name = str(start) if last == start else f"{start}-{last}" if last else f"{start}+"
        models = {
            model: {"hr@20": round(float((places[cases] < 20).mean()), 5),  # noqa: PLR2004
                    "mrr@20": round(float(np.where(places[cases] < 20, 1 / (places[cases] + 1), 0).mean()), 5)}  # noqa: PLR2004
            for model, places in ranks.items()
        }  # fmt: skip
        rows.append({"earlier_events": name, "events": int(cases.sum()), "models": models})
    return rows
