"""Two model versions side by side."""

from typing import Any

import numpy as np
from mlflow import MlflowClient

from afterclick.connectors.model_registry import find_version
from afterclick.ranking import popular_top_n
from afterclick.served_model import read_recommender
from afterclick.settings import Settings


def compare(client: MlflowClient, settings: Settings, first: str, second: str) -> dict[str, Any]:
    """Return items gained and lost, the overlap of the popular lists, and every figure and parameter of both."""
    models = [read_recommender(settings, version).model for version in (first, second)]
    runs = [client.get_run(find_version(client, settings, version).run_id).data for version in (first, second)]
    values = [
        {"rank": model.item_factors.shape[1], "items": len(model.item_ids), **run.params, **run.metrics}
        for model, run in zip(models, runs, strict=True)
    ]
    names = sorted({*values[0], *values[1]})
    size = settings.promotion.list_length
    popular = [set(model.item_ids[popular_top_n(model.popularity, size).items[0]].tolist()) for model in models]
    return {
        "first": first,
        "second": second,
        "items_gained": int((~np.isin(models[1].item_keys, models[0].item_keys)).sum()),
        "items_lost": int((~np.isin(models[0].item_keys, models[1].item_keys)).sum()),
        "popular_overlap": len(popular[0] & popular[1]) / max(1, len(popular[0])),
        "values": {name: [values[0].get(name), values[1].get(name)] for name in names},
    }
