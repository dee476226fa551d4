"""Rule replay on recorded tables equals what the live operator fired, on a log of 100,000 events."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.commands.triggers import replay_figures
from afterclick.connectors import delta_tables
from afterclick.schemas import EVENT
from afterclick.session_shards import Cutting
from afterclick.sessions import Operator, sessionize
from afterclick.settings import Settings
from afterclick.trigger_replay import Interval

BEGIN = datetime(2026, 11, 20, tzinfo=UTC)
EVENTS = 100_000
RULES = Path("conf/triggers.yaml")


def recorded_events(spark: SparkSession) -> DataFrame:
    """Return a day of 3,000 people in order of receipt, up to 4 s out of the order of event time."""
    draw = np.random.default_rng(3)
    seconds = np.sort(draw.uniform(0, 86_400, EVENTS))
    people = draw.integers(0, 3_000, EVENTS)
    kinds = draw.choice(
        ["view", "cart", "remove_from_cart", "purchase", "page"], EVENTS, p=[0.6, 0.15, 0.03, 0.07, 0.15]
    )
    items = draw.zipf(1.6, EVENTS) % 200
    received = seconds + draw.uniform(0, 4, EVENTS)
    frame = pd.DataFrame({
        "event_id": [f"e{number}" for number in range(EVENTS)], "event_type": kinds,
        "subject_id": [f"{person:032x}" for person in people], "item": [f"item-{item}" for item in items],
        "event_at": pd.to_datetime(BEGIN) + pd.to_timedelta(seconds, unit="s"),
        "received_at": pd.to_datetime(BEGIN) + pd.to_timedelta(received, unit="s"),
        "may": draw.random(EVENTS) < 0.95,
    }).sort_values("received_at")  # fmt: skip
    rows = spark.createDataFrame(frame)
    consent = F.when(F.col("may"), F.array(F.lit("analytics"), F.lit("personalisation"))).otherwise(
        F.array(F.lit("analytics"))
    )
    item = F.struct("item", F.lit(1).alias("quantity"), F.lit(2.0).alias("price"))
    columns = {
        "items": F.array(item), "consent": consent, "event_date": F.to_date("event_at"),
        "kafka_partition": F.pmod(F.hash("subject_id"), F.lit(2)),
    }  # fmt: skip
    return rows.select(*[
        columns.get(f.name, F.col(f.name) if f.name in frame else F.lit(None)).cast(f.dataType).alias(f.name) for f in EVENT
    ])  # fmt: skip


@pytest.mark.timeout(600)
def test_replay_equals_what_the_stream_fired_on_100_000_events(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    delta_tables.ensure_tables(spark, settings)
    source = tmp_path / "source"
    log = recorded_events(spark).toPandas()
    for number, part in enumerate(np.array_split(np.arange(EVENTS), [13_000, 14_000, 50_000, 71_000])):
        chunk = spark.createDataFrame(log.iloc[part], EVENT)
        chunk.coalesce(1).write.parquet(str(source / f"n={number}"))
    events = spark.read.schema(EVENT).parquet(f"{source}/n=*")
    delta_tables.append_once(events, settings, query="test", table="events", batch_id=0)
    stream = spark.readStream.schema(EVENT).option("maxFilesPerTrigger", 1).parquet(f"{source}/n=*")
    live = run_live(sessionize(stream, Operator(Cutting(1_800_000_000), 10, 2, 5_000_000, str(RULES))), tmp_path)
    last_decided = BEGIN + timedelta(hours=23, minutes=59)  # the clock of both partitions has passed it
    interval = Interval(BEGIN - timedelta(days=1), last_decided)
    recorded = [row for row in live if row["due_at"] <= last_decided.replace(tzinfo=None)]
    write_recorded(spark, settings, recorded)

    figures = replay_figures(spark, settings, RULES, interval)

    assert len(recorded) > 1_000
    assert (figures["fired"], figures["recorded_live"]) == (len(recorded), len(recorded))
    assert figures["by_rule"] == pd.Series([row["rule"] for row in recorded]).value_counts().to_dict()
    assert figures["only_with_these_rules"] == figures["only_with_todays_rules"] == 0
    assert figures["people"] == len({row["subject_id"] for row in recorded})
    assert 5 <= figures["lateness_seconds"]["median"] <= 12
    json.dumps(figures)
    assert fired_ids(spark, settings, interval) == {row["trigger_id"] for row in recorded}

    patient = tmp_path / "patient.yaml"
    patient.write_text("rules:\n  - {name: left cart, kind: cart_abandonment, after: 2h, cooldown: 24h}\n")
    changed = replay_figures(spark, settings, patient, interval)
    assert 0 < changed["fired"] < figures["by_rule"]["left cart"]
    assert changed["only_with_todays_rules"] > 0


def run_live(changes: DataFrame, folder: Path) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []

    def collect(batch: DataFrame, _: int) -> None:
        said.extend(row.asDict() for row in batch.where("change = 'trigger'").collect())

    query = changes.writeStream.foreachBatch(collect).option("checkpointLocation", str(folder / "checkpoint")).start()
    query.processAllAvailable()
    query.stop()
    return said


def write_recorded(spark: SparkSession, settings: Settings, rows: list[dict[str, Any]]) -> None:
    from afterclick.schemas_sessions import TRIGGER_FIRED

    now = datetime.now(UTC)
    made = [tuple({**row, "fired_at": now, "batch_id": 0}[name] for name in TRIGGER_FIRED.names) for row in rows]
    frame = spark.createDataFrame(made, TRIGGER_FIRED)
    delta_tables.append_once(frame, settings, query="test", table="triggers", batch_id=0)


def fired_ids(spark: SparkSession, settings: Settings, interval: Interval) -> set[str]:
    from afterclick.trigger_replay import replay_rules

    events = delta_tables.read_table(spark, settings, "events")
    fired = replay_rules(events, RULES.read_text(encoding="utf-8"), str(RULES), interval)
    return set(fired["trigger_id"].to_pylist())
