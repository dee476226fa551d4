"""What gives way under load leaves its share behind, and is never an order, a cart or consent."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from afterclick.load_shedding import bound_hot_subjects, sample_lagging, split_lanes
from afterclick.session_shards import ARRIVING, Cutting, advance_shard
from afterclick.session_state import Shard
from afterclick.setting_sections import LoadSettings
from afterclick.shard_keys import shard_key

LOAD = LoadSettings(hot_subject_events=2_000)
KINDS = np.array(["view", "page", "cart", "purchase"])


def half_from_a_bot(size: int = 80_000) -> pa.Table:
    draw = np.random.default_rng(4)
    people = np.where(np.arange(size) % 2 == 0, "bot", [f"person-{n}" for n in draw.integers(0, 3_000, size)])
    at = 1_700_000_000_000_000 + np.arange(size) * 1_000
    columns = {
        "subject_id": pa.array(people), "event_key": pa.array(draw.integers(-(2**63), 2**63, size)),
        "event_type": pa.array(draw.choice(KINDS, size, p=[0.7, 0.2, 0.07, 0.03])), "event_us": pa.array(at),
        "received_us": pa.array(at), "item_ids": pa.array([["mug"]] * size, pa.list_(pa.string())),
        "sample_rate": pa.array(np.ones(size)),
    }  # fmt: skip
    nulls = {field.name: pa.nulls(size, field.type) for field in ARRIVING if field.name not in columns}
    return pa.table({**columns, **nulls}).select(ARRIVING.names).cast(ARRIVING)


def test_a_hot_subject_is_bounded_and_flagged_and_its_counts_scale_back_within_three_percent() -> None:
    arriving = half_from_a_bot()

    bounded = bound_hot_subjects(arriving, LOAD)

    hot = bounded.hot.to_pylist()
    assert [(row["subject_id"], row["event_count"]) for row in hot] == [("bot", 40_000)]
    before, after = arriving.to_pandas(), bounded.kept.to_pandas()
    others = [frame[frame["subject_id"] != "bot"]["event_key"].tolist() for frame in (before, after)]
    assert others[0] == others[1]
    priority = [
        frame[frame["event_type"].isin(["cart", "purchase"])]["event_key"].tolist() for frame in (before, after)
    ]
    assert priority[0] == priority[1]
    low = after[(after["subject_id"] == "bot") & after["event_type"].isin(["view", "page"])]
    assert len(low) == LOAD.hot_subject_events
    sessions = advance_shard(Shard.empty(), bounded.kept, Cutting(1_800_000_000), watermark_us=0).ongoing.to_pandas()
    bot = sessions[sessions["subject_id"] == "bot"].iloc[0]
    assert bot["event_count"] == hot[0]["kept_count"] < 8_000
    assert bot["estimated_event_count"] == pytest.approx(40_000)


def test_nobody_is_bounded_below_the_limit() -> None:
    arriving = half_from_a_bot(2_000)

    assert bound_hot_subjects(arriving, LOAD).kept is arriving


def test_sampling_grows_with_the_wait_spares_priority_types_and_scales_back(spark: SparkSession) -> None:
    now = datetime.now(UTC)
    waits = F.array(*[F.lit(seconds) for seconds in (5, 100)])
    rows = spark.range(40_000).select(
        F.concat(F.lit("e"), "id").alias("event_id"),
        F.element_at(F.array(*map(F.lit, KINDS.tolist())), (F.col("id") % 4 + 1).cast("int")).alias("event_type"),
        F.element_at(waits, (F.col("id") / 4 % 2 + 1).cast("int")).alias("waited"),
    )
    events = rows.withColumn("kafka_at", F.timestamp_seconds(F.lit(now.timestamp()) - F.col("waited")))
    load = LoadSettings(sample_after_seconds=30)

    kept = (
        sample_lagging(events, load)
        .groupBy("event_type", "waited")
        .agg(
            F.count(F.lit(1)).alias("kept"),
            F.min("sample_rate").alias("rate"),
            F.sum(1 / F.col("sample_rate")).alias("estimate"),
        )
    )

    found = {(row.event_type, row.waited): row for row in kept.collect()}
    for kind in ("cart", "purchase"):
        assert (found[kind, 100].kept, found[kind, 100].rate) == (5_000, 1.0)
    for kind in ("view", "page"):
        assert (found[kind, 5].kept, found[kind, 5].rate) == (5_000, 1.0)
        assert found[kind, 100].rate == 0.25
    estimate = sum(found[kind, 100].estimate for kind in ("view", "page"))
    assert abs(estimate / 10_000 - 1) < 0.04
    assert sample_lagging(events, LoadSettings()).count() == 40_000


def test_of_a_large_batch_people_with_priority_events_come_first_with_all_of_theirs() -> None:
    people = ["ada", "bob", "ada", "eve"]
    batch = pa.table({"subject_id": people, "event_type": ["view", "view", "cart", "page"], "n": [0, 1, 2, 3]})

    assert split_lanes(batch, LoadSettings(lane_rows=4)) == [batch]
    assert [lane["n"].to_pylist() for lane in split_lanes(batch, LoadSettings(lane_rows=3))] == [[0, 2], [1, 3]]


@pytest.mark.parametrize("kind", ["purchase", "consent", "checkout"])
def test_a_priority_type_can_not_be_declared_low(kind: str) -> None:
    with pytest.raises(ValidationError, match=f"{kind} must never be sampled"):
        LoadSettings(low_value_types=("view", kind))


def test_people_spread_over_shards(spark: SparkSession) -> None:
    """The shard is a hash of the whole pseudonym, so neighbours do not meet: at most a tenth above an even share."""
    people = spark.range(20_000).select(F.md5(F.col("id").cast("string")).alias("subject_id"))
    for shards in (2, 8, 64):
        shard = shard_key(spark, "subject_id", shards)
        counts = [row["count"] for row in people.groupBy(shard).count().collect()]
        assert len(counts) == shards
        assert max(counts) < 20_000 / shards * (1.1 if shards < 64 else 1.3)
