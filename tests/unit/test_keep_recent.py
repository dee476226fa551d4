"""Warming keeps what the stream keeps: the same history, as fresh, whatever was repeated or happened at once."""

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from afterclick.histories import RECORD, History, merge_histories
from afterclick.recommendations import _arrivals
from afterclick.schemas import INTERACTION
from jobs.warm_cache import keep_recent

Row = tuple[str, str, str, int, int]


def orders(seed: int) -> list[Row]:
    """Build baskets of a few people: one time a basket, some lines twice, some baskets late or sent again."""
    draw = np.random.default_rng(seed)
    rows: list[Row] = []
    for received_ms in range(120):
        person, event_ms = f"p{draw.integers(4)}", int(draw.integers(0, 12))
        kind = str(draw.choice(["view", "cart", "purchase"]))
        for item in draw.choice(9, int(draw.integers(1, 7))):  # drawn with repetition: two sizes of one item
            rows.append((person, f"item-{item}", kind, event_ms, 1000 + received_ms))
    return rows + [(*row[:4], 9000 + row[4]) for row in rows[::7]]


def table_of(rows: list[Row]) -> pa.Table:
    return pa.table(dict(zip(INTERACTION.names, map(list, zip(*rows, strict=True)), strict=True)))


def stream(parts: list[list[Row]], length: int) -> dict[str, tuple[History, int]]:
    """Take rows in as the stream does, batch by batch."""
    kept: dict[str, tuple[History, int]] = {}
    for part in parts:
        for person, (arriving, received_ms) in _arrivals(table_of(part)).items():
            records, fresh_as_of_ms = kept.get(person, (np.zeros(0, RECORD), 0))
            kept[person] = (merge_histories(records, arriving, length=length), max(fresh_as_of_ms, received_ms))
    return kept


@pytest.mark.parametrize("length", [1, 5, 20, 500])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_rebuilt_history_is_the_streamed_one(spark: SparkSession, seed: int, length: int) -> None:
    rows = orders(seed)
    streamed = stream([rows[begin : begin + 11] for begin in range(0, len(rows), 11)], length)

    recent = keep_recent(spark.createDataFrame(rows, INTERACTION), length)
    rebuilt = stream([[tuple(row) for row in recent.collect()]], length)

    assert recent.columns == INTERACTION.names
    assert set(rebuilt) == set(streamed)
    for person, (records, fresh_as_of_ms) in streamed.items():
        assert rebuilt[person][0].tolist() == records.tolist()
        assert rebuilt[person][1] == fresh_as_of_ms
    distinct = {row[:4] for row in rows}
    assert recent.count() == recent.distinct().count() <= len(distinct)
