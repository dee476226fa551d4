"""The compiled rules and Great Expectations itself count the same failures on the same rows."""

import random
from pathlib import Path
from typing import Any

import great_expectations as gx
from pyspark.sql import SparkSession

from afterclick.events import decode_events
from afterclick.quality import failure, read_suite, with_checks
from builders import kafka_rows, make_message

SUITE = Path("conf/expectations/events.json")


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


def test_compiled_rules_count_the_same_failures_as_great_expectations(spark: SparkSession) -> None:
    suite = read_suite(SUITE)
    checked = with_checks(decode_events(kafka_rows(spark, random_messages(7, 400)))).drop("items", "consent").cache()

    compiled = {rule.name: checked.where(failure(rule)).count() for rule in suite.rules}

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = (
        context.data_sources.add_spark("spark", persist=False)
        .add_dataframe_asset("events")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": checked})
    )
    result = batch.validate(gx.ExpectationSuite(name=suite.name, expectations=list(suite.content["expectations"])))
    theirs = {
        outcome.expectation_config.meta["rule"]: outcome.result.get("unexpected_count") for outcome in result.results
    }
    assert not any(outcome.exception_info.get("raised_exception") for outcome in result.results)
    assert theirs == compiled
    assert all(count > 0 for count in compiled.values())
