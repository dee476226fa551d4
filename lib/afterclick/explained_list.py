"""Why somebody sees a list: the model's list from the stored history, each item with what carried it."""

import pandas as pd
from pyspark.sql import functions as F

from afterclick.analysis import Lake
from afterclick.comparison import Comparison
from afterclick.connectors.accepted_events import read_accepted
from afterclick.connectors.model_registry import champion_version, open_registry
from afterclick.errors import ModelError
from afterclick.holdout import as_histories
from afterclick.interactions import select_interactions
from afterclick.served_model import read_recommender


def explain_list(lake: Lake, subject_id: str, *, n: int = 10) -> pd.DataFrame:
    """Return the champion's list for a person's stored history, computed anew: as shown right after their last event.

    Parameters
    ----------
    subject_id
        The pseudonym; events without consent to personalisation do not count, as in serving.

    Returns
    -------
    pandas.DataFrame
        ``rank, item_id, name, score, reason, because, share, carried_by``; `carried_by` holds (past item, share of the
        fold-in score) for the strongest five.

    Raises
    ------
    ModelError
        If nothing is stored that may be used.

    References
    ----------
    Hu, Koren, Volinsky (2008), section 5, eq. 7.
    """
    of_person = read_accepted(lake.spark, lake.settings).where(F.col("subject_id") == subject_id)
    interactions = select_interactions(of_person).toArrow()
    if not interactions.num_rows:
        message = f"no stored event of {subject_id!r} may be used for recommendations; see consent_by_purpose"
        raise ModelError(message)
    version = champion_version(open_registry(lake.settings), lake.settings)
    comparison = Comparison.of(lake.settings.serving)
    recommender = comparison.recommender(read_recommender(lake.settings, version), comparison.side_of(subject_id))
    (history,) = as_histories(interactions, length=lake.settings.recommendations.history_length).values()
    (top,) = recommender.lists([history], 0)
    items = top.items[:n]
    explained = recommender.explain(history.records, {item.item_id: item.reason for item in items})
    rows = [
        (rank, item.item_id, item.score, item.reason, *explained.get(item.item_id, (None, None, [])))
        for rank, item in enumerate(items, 1)
    ]
    listed = pd.DataFrame(rows, columns=["rank", "item_id", "score", "reason", "because", "share", "carried_by"])
    names = lake.table("items").select("item_id", "name").toPandas()
    return listed.merge(names, on="item_id", how="left")
