"""Events -> interactions: only of people who allow both purposes."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession

from afterclick.interactions import select_interactions

COLUMNS = (
    "subject_id string, event_type string, event_at timestamp, received_at timestamp, consent array<string>, "
    "items array<struct<item_id: string, quantity: int, price: double>>"
)


@pytest.mark.parametrize(
    ("consent", "count"),
    [(["analytics", "personalisation"], 1), (["personalisation"], 0), (["analytics"], 0), ([], 0), (None, 0)],
)
def test_interactions_need_consent_to_both_purposes(spark: SparkSession, consent: Any, count: int) -> None:
    at = datetime(2026, 11, 24, tzinfo=UTC)
    events = spark.createDataFrame([("ada", "view", at, at, consent, [("mug", 1, 2.0)])], COLUMNS)

    assert len(select_interactions(events).collect()) == count
