"""How far serving by fold-in into an older model is from a full retrain: figures of each person, then of each bin. numpy only.

Items are keys (`models.item_keys`), so the two models may number their items as they like.
docs/decisions/0037-parity.md says why this distance.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatVector = npt.NDArray[np.float64]
FloatMatrix = npt.NDArray[np.float64]
IntVector = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

BINS = {"all": (0,), "history_length": (1, 2, 6, 21, 101), "hours": (0, 3, 6, 12, 24, 48)}
"""What people are grouped by, and the smallest value of each bin."""


class Figures(NamedTuple):
    """One value per person's list or per visit, shape (n,) each; NaN where there is nothing to measure.

    Parameters
    ----------
    history_length
        Interactions that the two lists were made of.
    hours
        Whole hours from the older model's training to the person's last event.
    overlap, distance
        Of lists; see `list_overlap`, `relative_distance`.
    served_ndcg, retrained_ndcg
        Of visits; see `list_ndcg`.
    """

    history_length: IntVector
    hours: IntVector
    overlap: FloatVector
    distance: FloatVector
    served_ndcg: FloatVector
    retrained_ndcg: FloatVector


class Bin(NamedTuple):
    """Means over one bin; None where nothing in it could be measured. The gap is what the retrain gains."""

    grouped_by: str
    bin: str
    at_least: int
    people: int
    overlap: float | None
    distance: float | None
    visits: int
    served_ndcg: float | None
    retrained_ndcg: float | None
    ndcg_gap: float | None
    ndcg_gap_error: float | None


def list_overlap(served: Keys, retrained: Keys) -> float:
    """Return the share of the longer list that is in both, whatever the order; 1 for two empty lists."""
    longest = max(len(served), len(retrained))
    return len(np.intersect1d(served, retrained)) / longest if longest else 1.0


def list_ndcg(shown: Keys, wanted: Keys, n: int) -> float:
    """Return nDCG at `n` with a gain of 1 for each wanted item; NaN when nothing was wanted.

    Parameters
    ----------
    shown
        A list, best first, each item once.
    """
    if not len(wanted):
        return float("nan")
    discounts = 1 / np.log2(np.arange(2, n + 2))
    hits = np.isin(shown[:n], wanted)
    return min(1.0, float(discounts[: len(hits)] @ hits / discounts[: len(np.unique(wanted))].sum()))


def relative_distance(served: FloatMatrix, retrained: FloatMatrix) -> FloatVector:
    """Return ``||served - retrained|| / ||retrained||`` of each row; NaN where the retrained row is zero.

    Parameters
    ----------
    served, retrained : shape (n_people, n_items)
        Fold-in scores of the items that both models know, in one order.

    Notes
    -----
    A score is the inner product of a person's and an item's vector, so turning or mirroring one model's space changes
    nothing, while a difference of the vectors themselves would say only that two trainings began elsewhere.
    """
    lengths = np.linalg.norm(retrained, axis=1)
    apart = np.linalg.norm(served - retrained, axis=1)
    return np.divide(apart, lengths, out=np.full(len(lengths), np.nan), where=lengths > 0)


def summarise(figures: Figures) -> list[Bin]:
    """Return the bins of `BINS` that hold anybody, in its order."""
    found = []
    for grouped_by, edges in BINS.items():
        values = getattr(figures, grouped_by, np.zeros(len(figures.overlap), np.int64))
        places = np.searchsorted(edges, values, side="right") - 1
        for place, label in enumerate(bin_labels(edges)):
            inside = places == place
            if inside.any():
                part = Figures(*(column[inside] for column in figures))
                found.append(_summarise_bin(grouped_by, label, edges[place], part))
    return found


def bin_labels(edges: Sequence[int]) -> list[str]:
    """Return what bins of whole numbers are called: ``1``, ``2-5``, ``>5``; ``all`` where there is but one.

    Examples
    --------
    >>> bin_labels((1, 2, 6))
    ['1', '2-5', '>5']
    """
    if len(edges) == 1:
        return ["all"]
    inner = [str(first) if after == first + 1 else f"{first}-{after - 1}" for first, after in pairwise(edges)]
    return [*inner, f">{edges[-1] - 1}"]


def _summarise_bin(grouped_by: str, label: str, at_least: int, part: Figures) -> Bin:
    gaps = part.retrained_ndcg - part.served_ndcg
    gaps = gaps[~np.isnan(gaps)]
    return Bin(
        grouped_by,
        label,
        at_least,
        people=int((~np.isnan(part.overlap)).sum()),
        overlap=_mean(part.overlap),
        distance=_mean(part.distance),
        visits=len(gaps),
        served_ndcg=_mean(part.served_ndcg),
        retrained_ndcg=_mean(part.retrained_ndcg),
        ndcg_gap=_mean(gaps),
        ndcg_gap_error=float(gaps.std(ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else None,
    )


def _mean(values: FloatVector) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
