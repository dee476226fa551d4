"""The session operator inside Spark: chunks, late rows, time-outs; equal to one pass of the rules."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from afterclick.schemas import EVENT
from afterclick.sessions import ARRIVING, Shard, advance_shard, session_id, sessionize

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def event(name: str, minute: float, *, subject: str = "ada", kind: str = "view", price: float = 1.0) -> tuple[Any, ...]:
    at = START + timedelta(minutes=minute)
    items = [("mug", 2, price)]
    row = {
        "event_id": name, "event_type": kind, "subject_id": subject, "event_at": at, "received_at": at, "items": items,
        "consent": ["analytics"], "event_date": at.date(),
    }  # fmt: skip
    return tuple(row.get(field) for field in EVENT.names)


def run_stream(spark: SparkSession, folder: Path, batches: Sequence[Sequence[tuple[Any, ...]]]) -> list[Any]:
    """Feed one file per micro-batch and return every row the operator said."""
    source = folder / "source"
    for number, rows in enumerate(batches):
        frame = spark.createDataFrame(list(rows), EVENT).coalesce(1)
        frame.write.mode("append").parquet(str(source / f"n={number}"))
    stream = spark.readStream.schema(EVENT).option("maxFilesPerTrigger", 1).parquet(f"{source}/n=*")
    changes = sessionize(stream, gap_seconds=1800, watermark_minutes=10, shards=2)
    said: list[Any] = []
    query = (
        changes.writeStream.foreachBatch(lambda batch, _: said.extend(batch.collect()))
        .option("checkpointLocation", str(folder / "checkpoint"))
        .start()
    )
    query.processAllAvailable()
    query.stop()
    return said


def test_sessionize_closes_a_session_and_sets_late_events_aside(spark: SparkSession, tmp_path: Path) -> None:
    batches = [
        [event("a", 0), event("b", 30, kind="purchase", price=2.5), event("x", 5, subject="bob")],
        [event("c", 120)],
        [event("d", 121), event("late", 10, subject="eve")],
        [event("e", 300)],
    ]

    said = run_stream(spark, tmp_path, batches)

    closed = {(row.subject_id, row.event_count, row.purchase_count, row.order_value) for row in said if not row.is_late}
    assert closed == {("ada", 2, 1, 5.0), ("bob", 1, 0, 0.0), ("ada", 2, 0, 0.0)}
    late = [row for row in said if row.is_late]
    assert [(row.event_id, row.subject_id) for row in late] == [("late", "eve")]
    assert late[0].watermark_at == (START + timedelta(minutes=110)).replace(tzinfo=None)
    assert late[0].event_at == (START + timedelta(minutes=10)).replace(tzinfo=None)


def test_sessionize_takes_all_chunks_of_a_large_group(spark: SparkSession, tmp_path: Path) -> None:
    """Spark cuts a group by spark.sql.execution.arrow.maxRecordsPerBatch."""
    before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
    try:
        said = run_stream(spark, tmp_path, [[event(f"e{n}", n / 10) for n in range(100)], [event("end", 500)]])
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(before))

    assert [row.event_count for row in said] == [100]


def test_sessionize_counts_a_repeated_delivery_once(spark: SparkSession, tmp_path: Path) -> None:
    batches = [[event("a", 0), event("a", 0)], [event("a", 0), event("b", 1)], [event("end", 200)], [event("end", 200)]]

    said = run_stream(spark, tmp_path, batches)

    assert [(row.event_count, row.is_late) for row in said] == [(2, False)]


def arriving(*rows: tuple[str, int, int]) -> pa.Table:
    columns = [
        [row[0] for row in rows], [row[1] for row in rows], [str(row[1]) for row in rows], ["view"] * len(rows),
        [row[2] for row in rows], [row[2] for row in rows], [0.0] * len(rows),
    ]  # fmt: skip
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, ARRIVING, strict=True)], schema=ARRIVING)


def test_advance_shard_forgets_event_ids_one_gap_behind_the_watermark() -> None:
    first = advance_shard(Shard.empty(), arriving(("ada", 1, 100), ("ada", 2, 140)), gap_us=30, watermark_us=0)

    later = advance_shard(first.shard, arriving(), gap_us=30, watermark_us=131)

    assert later.shard.seen["event_key"].to_pylist() == [2]


def test_session_id_differs_by_subject_and_start() -> None:
    assert len({session_id("a", 1), session_id("a", 2), session_id("b", 1)}) == 3
    assert session_id("a", 1) == session_id("a", 1)


@pytest.mark.parametrize("size", [0, 1])
def test_advance_shard_accepts_a_batch_of(size: int) -> None:
    change = advance_shard(Shard.empty(), arriving(*[("ada", 1, 5)][:size]), gap_us=30, watermark_us=0)

    assert len(change.shard.open) == size
