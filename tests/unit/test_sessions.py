"""The session operator inside Spark: chunks, late rows, time-outs; equal to one pass of the rules."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from afterclick.schemas import EVENT
from afterclick.session_shards import ARRIVING, Cutting, advance_shard, session_id
from afterclick.session_state import Shard
from afterclick.sessions import Operator, sessionize
from afterclick.shard_keys import shard_key

CUTTING = Cutting(gap_us=30)
START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def event(name: str, minute: float, *, subject: str = "ada", kind: str = "view", price: float = 1.0) -> tuple[Any, ...]:
    at = START + timedelta(minutes=minute)
    items = [("mug", 2, price)]
    row = {
        "event_id": name, "event_type": kind, "subject_id": subject, "event_at": at, "received_at": at, "items": items,
        "consent": ["analytics", "personalisation"], "event_date": at.date(), "kafka_partition": 0, "page_path": "/" + name,
    }  # fmt: skip
    return tuple(row.get(field) for field in EVENT.names)


def run_stream(
    spark: SparkSession, folder: Path, batches: Sequence[Sequence[tuple[Any, ...]]], *, rules: Path | None = None
) -> list[Any]:
    """Feed one file per micro-batch and return every row the operator said but open sessions."""
    source = folder / "source"
    for number, rows in enumerate(batches):
        frame = spark.createDataFrame(list(rows), EVENT).coalesce(1)
        frame.write.mode("append").parquet(str(source / f"n={number}"))
    stream = spark.readStream.schema(EVENT).option("maxFilesPerTrigger", 1).parquet(f"{source}/n=*")
    operator = Operator(Cutting(1_800_000_000), 10, 2, trigger_delay_us=0, rules_path=str(rules) if rules else None)
    changes = sessionize(stream, operator).where("change != 'open'")
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

    closed = {
        (row.subject_id, row.event_count, row.purchase_count, row.order_value) for row in said if row.change == "closed"
    }
    assert closed == {("ada", 2, 1, 5.0), ("bob", 1, 0, 0.0), ("ada", 2, 0, 0.0)}
    first = next(row for row in said if row.change == "closed" and row.purchase_count)
    assert (first.duration_ms, first.item_count, first.entry_page) == (1_800_000, 1, "/a")
    late = [row for row in said if row.change == "late"]
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

    assert [(row.event_count, row.change) for row in said] == [(2, "closed")]


RULES = """
rules:
  - name: left
    kind: cart_abandonment
    after: 30m
    cooldown: 1h
"""


def test_sessionize_fires_triggers_by_rules_that_may_change_while_it_runs(spark: SparkSession, tmp_path: Path) -> None:
    """The first rules stay when the file gets a mistake; they are in the state."""
    rules = tmp_path / "triggers.yaml"
    rules.write_text(RULES)
    said = run_stream(spark, tmp_path, [[event("c", 0, kind="cart")], [event("d", 29, subject="bob")]], rules=rules)
    assert [row.trigger_id for row in said if row.change == "trigger"] == []

    rules.write_text(RULES.replace("after", "aftr"))
    said = run_stream(
        spark, tmp_path, [[event("c", 0, kind="cart")], [event("d", 29, subject="bob")], [event("e", 31)]], rules=rules
    )

    fired = [row for row in said if row.change == "trigger"]
    assert [(row.rule, row.rule_kind, row.subject_id, row.item_ids) for row in fired] == [
        ("left", "cart_abandonment", "ada", ["mug"])
    ]
    assert fired[0].due_at == (START + timedelta(minutes=30)).replace(tzinfo=None)


def arriving(*rows: tuple[str, int, int]) -> pa.Table:
    events = [
        {"subject_id": who, "event_key": key, "event_id": str(key), "event_type": "view", "event_us": at,
         "received_us": at, "item_ids": ["mug"]}
        for who, key, at in rows
    ]  # fmt: skip
    return pa.Table.from_pylist(events, schema=ARRIVING)


@pytest.mark.parametrize(("after", "minutes"), [("10m", 10), ("2h", 120)], ids=["before", "after"])
def test_a_cart_of_a_shard_where_nothing_more_happens_fires_whenever_its_session_ends(
    spark: SparkSession, tmp_path: Path, after: str, minutes: int
) -> None:
    """The session ends after 30 minutes; ten minutes are the watermark's delay."""
    rules = tmp_path / "triggers.yaml"
    rules.write_text(RULES.replace("30m", after))
    elsewhere = somebody_of_another_shard(spark, "ada")
    times = [minutes / 2, minutes + 9, minutes + 11]

    said = run_stream(
        spark,
        tmp_path,
        [[event("c", 0, kind="cart")], *[[event(f"e{at}", at, subject=elsewhere)] for at in times]],
        rules=rules,
    )

    fired = [(row.subject_id, row.due_at) for row in said if row.change == "trigger"]
    assert fired == [("ada", (START + timedelta(minutes=minutes)).replace(tzinfo=None))]


def somebody_of_another_shard(spark: SparkSession, subject: str) -> str:
    names = spark.createDataFrame([(name,) for name in (subject, *"abcdefgh")], "subject_id string")
    rows = names.withColumn("shard", shard_key(spark, "subject_id", 2)).collect()
    return next(str(row.subject_id) for row in rows if row.shard != rows[0].shard)


def test_advance_shard_forgets_event_ids_one_gap_behind_the_watermark() -> None:
    first = advance_shard(Shard.empty(), arriving(("ada", 1, 100), ("ada", 2, 140)), CUTTING, watermark_us=0)

    later = advance_shard(first.shard, arriving(), CUTTING, watermark_us=131)

    assert later.shard.seen["event_key"].to_pylist() == [2]


def test_advance_shard_names_the_session_a_late_event_would_have_joined() -> None:
    first = advance_shard(Shard.empty(), arriving(("ada", 1, 100), ("bob", 2, 100)), CUTTING, watermark_us=0)

    later = advance_shard(
        first.shard, arriving(("ada", 3, 90), ("ada", 4, 10), ("eve", 5, 90)), CUTTING, watermark_us=120
    )

    assert later.late["session_id"].to_pylist() == [session_id("ada", 100), None, None]


def test_advance_shard_tells_ongoing_sessions_with_new_events_only() -> None:
    first = advance_shard(Shard.empty(), arriving(("ada", 1, 100), ("bob", 2, 100)), CUTTING, watermark_us=0)

    later = advance_shard(first.shard, arriving(("ada", 3, 110)), CUTTING, watermark_us=0)

    assert later.ongoing.select(["subject_id", "event_count", "item_count"]).to_pylist() == [
        {"subject_id": "ada", "event_count": 2, "item_count": 1}
    ]


def test_advance_shard_with_orders_as_ends_keeps_items_with_their_part() -> None:
    cutting = Cutting(gap_us=30, close_on_order=True)
    order = arriving(("ada", 2, 10)).set_column(3, "event_type", pa.array(["purchase"]))
    first = advance_shard(Shard.empty(), arriving(("ada", 1, 0), ("ada", 3, 20)), cutting, watermark_us=0)

    later = advance_shard(first.shard, order, cutting, watermark_us=5)
    last = advance_shard(later.shard, arriving(), cutting, watermark_us=99)

    assert last.closed.select(["started", "event_count", "item_count"]).to_pylist() == [
        {"started": 0, "event_count": 2, "item_count": 1},
        {"started": 20, "event_count": 1, "item_count": 1},
    ]


def test_session_id_differs_by_subject_and_start() -> None:
    assert len({session_id("a", 1), session_id("a", 2), session_id("b", 1)}) == 3
    assert session_id("a", 1) == session_id("a", 1)


@pytest.mark.parametrize("size", [0, 1])
def test_advance_shard_accepts_a_batch_of(size: int) -> None:
    change = advance_shard(Shard.empty(), arriving(*[("ada", 1, 5)][:size]), CUTTING, watermark_us=0)

    assert len(change.shard.open) == size


def test_advance_shard_with_orders_as_ends_closes_at_the_order_of_somebody_who_does_nothing_more() -> None:
    cutting = Cutting(gap_us=30, close_on_order=True)
    order = arriving(("ada", 1, 10)).set_column(3, "event_type", pa.array(["purchase"]))
    first = advance_shard(Shard.empty(), order, cutting, watermark_us=0)

    at_the_order = advance_shard(first.shard, arriving(("bob", 2, 12)), cutting, watermark_us=10)
    after = advance_shard(at_the_order.shard, arriving(("bob", 3, 13)), cutting, watermark_us=11)

    assert at_the_order.closed.num_rows == 0
    assert after.closed["subject_id"].to_pylist() == ["ada"]
