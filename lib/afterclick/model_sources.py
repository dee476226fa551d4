"""What a model carries beside its factors, so that a list follows from it and the person's history alone. numpy only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from afterclick.blend import CONTEXTS, SOURCES
from afterclick.covisitation import Followers
from afterclick.mixtures import GAP_MS, Mixture, Mixtures
from afterclick.sequences import IntVector

ARRAYS = ("followers", "follower_weights", "follower_totals", "trend", "repeat_rate")
"""Files of the sources."""
OPTIONAL = ("repeat_rate",)
"""Files that models of earlier versions lack."""


@dataclass(frozen=True)
class ModelSources:
    """Counts, and how they are blended.

    Parameters
    ----------
    followers, follower_weights : shape (n_items, n_followers)
        Rows of the strongest followers of each item, -1 = none (int32), and their weights (float32).
    follower_totals : shape (n_items,)
        Sum of all steps from the item (float64).
    trend : shape (n_items,)
        Recent popularity (float64).
    repeat_rate : shape (n_items,)
        Share of the people who had an item that had it again (float64).
    """

    followers: npt.NDArray[np.int32]
    follower_weights: npt.NDArray[np.float32]
    follower_totals: npt.NDArray[np.float64]
    trend: npt.NDArray[np.float64]
    repeat_rate: npt.NDArray[np.float64]
    mixtures: Mixtures

    def read_followers(self, items: IntVector) -> Followers:
        """Return the rows of some items."""
        followers = self.followers[items]
        rows, slots = np.nonzero(followers >= 0)
        weights = self.follower_weights[items[rows], slots]
        return Followers(rows, followers[rows, slots].astype(np.int64), weights, self.follower_totals[items])

    def problems(self, n_items: int) -> list[str]:
        """Return what does not fit a model of `n_items` items."""
        kinds = {name: (getattr(self, name).dtype.str, getattr(self, name).shape) for name in ARRAYS}
        width = self.followers.shape[1] if self.followers.ndim == 2 else -1  # noqa: PLR2004
        expected = {
            "followers": ("<i4", (n_items, width)),
            "follower_weights": ("<f4", (n_items, width)),
            "follower_totals": ("<f8", (n_items,)),
            "trend": ("<f8", (n_items,)),
            "repeat_rate": ("<f8", (n_items,)),
        }
        found = [
            f"{name} is {kinds[name]}, expected {expected[name]}" for name in ARRAYS if kinds[name] != expected[name]
        ]
        if found:
            return found
        if self.followers.size and not -1 <= self.followers.min() <= self.followers.max() < n_items:
            found.append("followers name items that are not there")
        weights = [mixture.blend.weights for mixture in (self.mixtures.in_visit, self.mixtures.returning)]
        numbers: list[npt.NDArray[Any]] = [
            self.follower_weights,
            self.follower_totals,
            self.trend,
            self.repeat_rate,
            *weights,
        ]
        if not all(np.isfinite(values).all() for values in numbers):
            found.append("counts or weights are not finite")
        shape = (len(CONTEXTS), len(SOURCES))
        return [*found, *(f"a blend has shape {one.shape}" for one in weights if one.shape != shape)]

    def to_dict(self) -> dict[str, Any]:
        """Return what the manifest keeps."""
        returning, gap_ms = self.mixtures.returning, self.mixtures.gap_ms
        return {**self.mixtures.in_visit.to_dict(), "returning": returning.to_dict(), "visit_gap_ms": gap_ms}


def make_sources(arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> ModelSources:
    """Return the sources of a model's files; KeyError or TypeError where the manifest lacks something.

    A manifest from before returning people had a mixture of their own has one for everybody; a model from before
    repeats were counted has rules that do not ask for them.
    """
    in_visit = Mixture.from_dict(described)
    returning = Mixture.from_dict(described["returning"]) if "returning" in described else in_visit
    mixtures = Mixtures(in_visit, returning, int(described.get("visit_gap_ms", GAP_MS)))
    known = {"repeat_rate": np.ones_like(arrays["trend"]), **arrays}
    columns: dict[str, Any] = {name: known[name] for name in ARRAYS}
    return ModelSources(**columns, mixtures=mixtures)
