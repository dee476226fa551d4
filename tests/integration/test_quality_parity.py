"""The compiled rules and Great Expectations itself count the same failures on the same rows."""

import random
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from afterclick.events import decode_events
from afterclick.quality import Suite, compile_suite, read_suite, with_checks
from afterclick.suite_validation import count_failures, counted, open_context, validate
from builders import kafka_rows, make_message

SUITE = Path("conf/expectations/events.json")
TEXTS = [None, "", " ", "a", "ab", "A", "é", "abc\n", "0" * 32, "x" * 9, "{1}"]
NUMBERS = [None, 0, 1, -1, 5, 10, 300, 2**40]
FRACTIONS = [None, 0.0, -0.01, 1.5, 300.0, 300.0001, 1e300]
FLAGS = [None, True, False]


def random_messages(seed: int, count: int) -> list[Any]:
    """Messages of which about half break something, NULL values included."""
    draw = random.Random(seed)
    choices: dict[str, list[Any]] = {
        "event_id": [None, "", "a", "x" * 128, "x" * 129, {"a": 1}],
        "event_type": [None, "view", "page", "purchase", "teleport", ""],
        "subject_id": [None, "0" * 32, "0" * 31, "ada@example.org"],
        "event_at": [None, "soon", "2026-11-24T12:05:00.000Z", "2026-11-24T12:05:00.001Z", "1970-01-01T00:00:00Z"],
        "received_at": [None, "2026-11-24T12:00:00Z", "2027-01-01T00:00:00Z"],
        "items": [
            None, [], [{"item_id": None}], [{"item_id": "mug", "quantity": 0, "price": -1.0}], "mug",
            [{"item_id": "mug", "quantity": 10**9, "price": 1e12}],
        ],
        "rejected_reason": [None, "no_subject"],
    }  # fmt: skip
    broken = [
        make_message(**{key: draw.choice(values) for key, values in choices.items() if draw.random() < 0.3})
        for _ in range(count)
    ]
    return [*broken, None, b"\xff", b"{}", b"[]"]


def random_suite(draw: random.Random, count: int) -> Suite:
    """Draw rules of every compiled type with random arguments over the columns of `random_frame`."""
    expectations = []
    for number in range(count):
        bounds = dict(zip(("min_value", "max_value"), sorted(draw.sample([-1, 0, 1, 5, 300], 2)), strict=True))
        bounds.pop(draw.choice(["min_value", "max_value", "neither"]), None)
        strict = {f"strict_{name[:3]}": draw.random() < 0.5 for name in bounds}
        lengths = {name: max(0, bound) for name, bound in bounds.items()}
        kind, kwargs = draw.choice(
            [
                ("values_to_not_be_null", {"column": draw.choice(["text", "number", "fraction", "flag"])}),
                ("values_to_be_null", {"column": draw.choice(["text", "number", "fraction", "flag"])}),
                ("values_to_be_in_set", {"column": "text", "value_set": draw.sample(TEXTS[1:], 3)}),
                ("values_to_be_in_set", {"column": "number", "value_set": draw.sample(NUMBERS[1:], 3)}),
                ("values_to_be_in_set", {"column": "flag", "value_set": [draw.random() < 0.5]}),
                (
                    "values_to_match_regex",
                    {"column": "text", "regex": draw.choice(["^a", "b", r"^[0-9a-f]{32}$", "^.$"])},
                ),
                ("values_to_be_between", {"column": "number", **bounds, **strict}),
                ("values_to_be_between", {"column": "fraction", **bounds, **strict}),
                ("value_lengths_to_be_between", {"column": "text", **lengths}),
            ]
        )
        expectations.append({"type": f"expect_column_{kind}", "kwargs": kwargs, "meta": {"rule": f"rule_{number}"}})
    return compile_suite({"name": "random", "expectations": expectations})


def random_frame(spark: SparkSession, draw: random.Random, rows: int) -> DataFrame:
    values = [tuple(draw.choice(column) for column in (TEXTS, NUMBERS, FRACTIONS, FLAGS)) for _ in range(rows)]
    return spark.createDataFrame(values, "text string, number bigint, fraction double, flag boolean")


def spark_counts(frame: DataFrame, suite: Suite) -> dict[str, int]:
    source = open_context().data_sources.add_spark("spark", persist=False)
    batches = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    return counted(validate(batches.get_batch({"dataframe": frame}), suite), suite)


def pandas_counts(frame: DataFrame, suite: Suite) -> dict[str, int]:
    source = open_context().data_sources.add_pandas("pandas")
    batches = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    return counted(validate(batches.get_batch({"dataframe": frame.toArrow().to_pandas()}), suite), suite)


def test_the_events_suite_counts_the_same_failures_as_great_expectations(spark: SparkSession) -> None:
    suite = read_suite(SUITE)
    checked = with_checks(decode_events(kafka_rows(spark, random_messages(7, 400)))).drop("items", "consent").cache()

    compiled = count_failures(checked, suite)

    assert spark_counts(checked, suite) == compiled
    assert all(count > 0 for count in compiled.values())


@pytest.mark.parametrize("seed", range(3))
def test_random_suites_on_random_frames_with_nulls_count_the_same_failures(spark: SparkSession, seed: int) -> None:
    draw = random.Random(seed)
    suite, frame = random_suite(draw, 40), random_frame(spark, draw, 200).cache()

    compiled = count_failures(frame, suite)

    assert spark_counts(frame, suite) == compiled
    for _ in range(10):  # pandas is cheap: more suites
        assert pandas_counts(frame, suite) == count_failures(frame, suite)
        suite = random_suite(draw, 40)
