"""The list for people we know nothing about. No Spark, no Arrow: the API makes it too when Redis is away."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from afterclick.blend import share_of_best
from afterclick.list_records import TopList
from afterclick.models import Model, item_keys
from afterclick.places import ListedItem
from afterclick.ranking import popular_top_n

RECENT_WEIGHT = 0.3
"""What an item active in the last day weighs beside one popular in the training data (docs/decisions/0047-activity.md)."""
_LEAST = 1e-6
"""Weight of popularity where the blend has none: it still orders what has no trend."""


def popular_list(model: Model, size: int, *, now_ms: int, recent: npt.NDArray[np.float64] | None = None) -> TopList:
    """Return the best items for people of whom nothing is known, by the weights that the training learned for them.

    Parameters
    ----------
    recent : shape (n_items,)
        Weighed events of the last day (`recent_activity`); None: only the training data count.
    """
    popularity, trend = _learned_parts(model)
    if recent is not None:
        trend = trend + RECENT_WEIGHT * share_of_best(recent)
    ranked = popular_top_n(popularity + trend, size)
    rows, scores = ranked.items[0], ranked.scores[0].round(6).tolist()
    reasons = np.where(trend[rows] > popularity[rows], "trending", "popular").tolist()
    items = list(map(ListedItem, map(str, model.item_ids[rows]), scores, reasons))
    return TopList(model.version, "popular", 0, now_ms, items)


def popular_shares(model: Model) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return popularity and trend as the blend weighs them, shares of the highest; a model without sources has no trend."""
    trend = model.sources.trend if model.sources else np.zeros_like(model.popularity)
    return share_of_best(model.popularity), share_of_best(trend)


def _learned_parts(model: Model) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return what popularity and trend bring each item; the best item has 1 of both."""
    weights = {"popularity": 1.0, "trend": 0.0}
    if model.sources:
        weights = model.sources.mixtures.in_visit.blend.to_dict()["none"]
    popularity, trend = popular_shares(model)
    popularity, trend = popularity * max(weights["popularity"], _LEAST), trend * weights["trend"]
    best = max(float((popularity + trend).max(initial=0.0)), 1e-12)
    return popularity / best, trend / best


def recent_activity(model: Model, counts: Mapping[str, Mapping[str, Mapping[str, float]]]) -> npt.NDArray[np.float64]:
    """Return the sum of event weights of the last 24 h by item of the model.

    Parameters
    ----------
    counts
        `connectors.activity_store.Counts` by item id; items that the model does not know are left out.
    """
    rows = model.index_of(item_keys(list(counts)))
    recent = np.zeros(len(model.item_ids))
    for row, by_type in zip(rows.tolist(), counts.values(), strict=True):
        if row >= 0:
            weights = model.event_weights
            recent[row] = sum(weights.get(kind, 0.0) * found["events_24h"] for kind, found in by_type.items())
    return recent
