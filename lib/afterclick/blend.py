"""Sources of recommendation and their weighted sum, by how much is known of a person. numpy only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.sequences import Cells, Sequences

FloatMatrix = npt.NDArray[np.floating[Any]]
SOURCES = ("fold_in", "covisitation", "frequency", "popularity", "trend")
CONTEXTS = ("none", "one", "short", "regular", "long")
_BOUNDS = (1, 2, 6, 60)  # interactions from which a context begins, of all but the first


class Evidence(NamedTuple):
    """What every source says of some people, over one catalogue.

    Parameters
    ----------
    fold_in : shape (n_people, n_items)
        Inner products of the folded vectors.
    covisitation, frequency
        Sparse, not negative.
    popularity, trend : shape (n_items,)
        The same for everybody, between 0 and 1.
    """

    fold_in: FloatMatrix
    covisitation: Cells
    frequency: Cells
    popularity: FloatMatrix
    trend: FloatMatrix


@dataclass(frozen=True)
class Blend:
    """Weights by context, learned on held-out time.

    Parameters
    ----------
    weights : shape (len(CONTEXTS), len(SOURCES))
        Not negative.
    """

    weights: FloatMatrix

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Return the weights by name."""
        return {
            context: {source: float(weight) for source, weight in zip(SOURCES, row, strict=True)}
            for context, row in zip(CONTEXTS, self.weights, strict=True)
        }

    @staticmethod
    def from_dict(weights: Mapping[str, Mapping[str, float]]) -> "Blend":
        """Return a blend from `to_dict`'s names; without long histories of its own it has the regular ones' weights."""
        known = {"long": weights["regular"], **weights}
        return Blend(np.array([[known[context][source] for source in SOURCES] for context in CONTEXTS], np.float64))


def share_of_best(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return values that are not negative as shares of the highest, as `Evidence` has popularity and trend; zeros stay."""
    return values / max(float(values.max(initial=0.0)), 1e-12)


def single_source_blend(name: str) -> Blend:
    """Return the blend that lists by one of `SOURCES` alone, whatever is known of a person."""
    return Blend(np.tile(np.eye(len(SOURCES))[SOURCES.index(name)], (len(CONTEXTS), 1)))


def fixed_blend(weights: Mapping[str, float]) -> Blend:
    """Return a blend with the given weights of `SOURCES`, 0 for the others, whatever is known of a person."""
    return Blend(np.tile([weights.get(source, 0.0) for source in SOURCES], (len(CONTEXTS), 1)))


def default_blend() -> Blend:
    """Return weights that do well where nothing could be learned yet."""
    row = np.array([0.1, 1.0, 0.1, 0.01, 0.01])
    return Blend(np.tile(row, (len(CONTEXTS), 1)))


def contexts_of(sequences: Sequences) -> npt.NDArray[np.int64]:
    """Return the context of each person, an index into `CONTEXTS`."""
    return np.searchsorted(_BOUNDS, np.diff(sequences.indptr), side="right")


def blend_scores(evidence: Evidence, weights: FloatMatrix) -> FloatMatrix:
    """Return the weighted sums.

    Parameters
    ----------
    weights : shape (n_people, len(SOURCES))
        ``blend.weights[contexts_of(sequences)]``.

    Returns
    -------
    ndarray, shape (n_people, n_items)
    """
    kind = evidence.fold_in.dtype
    by_source = dict(zip(SOURCES, weights.astype(kind).T, strict=True))
    scores = evidence.fold_in * by_source["fold_in"][:, None]
    for name, shares in (("popularity", evidence.popularity), ("trend", evidence.trend)):
        if by_source[name].any():
            scores += by_source[name][:, None] * shares.astype(kind)
    for name, cells in (("covisitation", evidence.covisitation), ("frequency", evidence.frequency)):
        scores[cells.people, cells.items] += by_source[name][cells.people] * cells.values.astype(kind)
    return scores
