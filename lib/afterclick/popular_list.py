"""The list for people we know nothing about. No Spark, no Arrow: the API makes it too when Redis is away."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from afterclick.list_records import TopList
from afterclick.models import Model, item_keys
from afterclick.places import ListedItem
from afterclick.ranking import popular_top_n

RECENT_WEIGHT = 0.3
"""What an item active in the last day weighs beside one popular in the training data (docs/decisions/0047-activity.md)."""


def popular_list(model: Model, size: int, *, now_ms: int, recent: npt.NDArray[np.float64] | None = None) -> TopList:
    """Return a model's `size` most popular items.

    Parameters
    ----------
    recent : shape (n_items,)
        Weighed events of the last day (`recent_activity`); None: only the training data count.
    """
    popularity = model.popularity
    if recent is not None:
        popularity = _share_of_best(popularity) + RECENT_WEIGHT * _share_of_best(recent)
    ranked = popular_top_n(popularity, size)
    pairs = zip(ranked.items[0].tolist(), ranked.scores[0].tolist(), strict=True)
    items = [ListedItem(str(model.item_ids[item]), round(score, 6), "popular") for item, score in pairs]
    return TopList(model.version, "popular", 0, now_ms, items)


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


def _share_of_best(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return values / max(float(values.max(initial=0.0)), 1e-12)
