"""The training job: events in Delta -> a registered candidate with factors, followers and a blend."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from afterclick.models import load_model
from afterclick.served_model import model_folder, read_recommender
from afterclick.settings import Settings
from jobs.import_history import import_log
from jobs.train_model import train_candidate


def walk(events: int = 1_500, people: int = 40, items: int = 20) -> pa.Table:
    """Build a log in which item n is mostly followed by item n + 1."""
    draw = np.random.default_rng(0)
    subjects, place, chosen = draw.integers(0, people, events), draw.integers(0, items, people), []
    for subject in subjects:
        place[subject] = (place[subject] + 1) % items if draw.random() < 0.9 else draw.integers(0, items)
        chosen.append(f"i{place[subject]:02d}")
    begin = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp())
    at = pa.array((begin + np.arange(events) * 60) * 1_000_000).cast(pa.timestamp("us", "UTC"))
    columns = {"subject_id": [f"u{s}" for s in subjects], "item_id": chosen, "event_at": at}
    return pa.table(columns | {"event_type": ["view"] * events})


def test_train_candidate_registers_a_model_whose_lists_follow_from_its_followers(
    spark: SparkSession, settings: Settings
) -> None:
    changed: dict[str, Any] = {"rank": 8, "iterations": 3}
    small = settings.model_copy(update={"model": settings.model.model_copy(update=changed)})
    import_log(spark, small, walk(), digest="walk", purposes=["analytics", "personalisation"])

    version = train_candidate(spark, small, "2026-11-24")

    recommender = read_recommender(small, version)
    assert load_model(model_folder(small, version)).sources
    top = recommender.session_list(["i03", "i11"], 0)
    assert (top.items[0].item_id, top.items[0].reason) == ("i12", "others_went_on")
