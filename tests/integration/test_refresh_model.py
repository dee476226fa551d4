"""Between two trainings: items that came since are listed, without anything learned anew."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from afterclick.connectors import model_registry
from afterclick.served_model import read_recommender
from afterclick.settings import Settings
from integration.test_train_model import walk
from jobs.import_history import import_log
from jobs.refresh_model import refresh_candidate
from jobs.train_model import train_candidate

NEW = "i20"
"""Follows the last of the twenty items that `walk` knows."""


def later(people: int = 12) -> pa.Table:
    """Build a log of some people who went from the last known item to the new one, six times each."""
    begin = int(datetime(2026, 10, 20, tzinfo=UTC).timestamp())
    rows = [(f"u{person}", item) for _ in range(6) for person in range(people) for item in ("i19", NEW)]
    at = pa.array((begin + np.arange(len(rows)) * 60) * 1_000_000).cast(pa.timestamp("us", "UTC"))
    subjects, items = zip(*rows, strict=True)
    return pa.table({"subject_id": subjects, "item_id": items, "event_at": at, "event_type": ["view"] * len(rows)})


def test_refresh_lists_an_item_that_came_after_the_training_and_keeps_what_was_learned(
    spark: SparkSession, settings: Settings
) -> None:
    changed: dict[str, Any] = {"rank": 8, "iterations": 3}
    small = settings.model_copy(update={"model": settings.model.model_copy(update=changed)})
    allowed = ["analytics", "personalisation"]
    import_log(spark, small, walk(), digest="walk", purposes=allowed)
    trained = train_candidate(spark, small, "2026-11-24")
    client = model_registry.open_registry(small)
    model_registry.set_alias(client, small, model_registry.CHAMPION, trained)
    import_log(spark, small, later(), digest="later", purposes=allowed)

    version = refresh_candidate(spark, small, "2026-11-24T12:00")

    before, after = read_recommender(small, trained), read_recommender(small, version)
    assert NEW not in before.item_ids
    assert NEW in after.item_ids
    known = np.isin(after.model.item_ids, before.model.item_ids)
    assert (after.model.item_factors[known] == before.model.item_factors).all()
    assert np.linalg.norm(after.model.item_factors[~known]) > 0
    assert before.model.sources
    assert after.model.sources
    assert after.model.sources.to_dict() == before.model.sources.to_dict()
    top = after.session_list(["i18", "i19"], 0)
    assert NEW in [item.item_id for item in top.items[:3]]
    assert refresh_candidate(spark, small, "2026-11-24T12:00") == version  # a repetition keeps it
