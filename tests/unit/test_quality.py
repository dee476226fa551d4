"""The compiled suite names each broken rule, and agrees with Great Expectations itself."""

import json
from pathlib import Path
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession

from afterclick.errors import ExpectationError
from afterclick.events import decode_events
from afterclick.quality import flag_violations, keep_valid, read_suite
from builders import kafka_rows, make_message

SUITE = Path("conf/expectations/events.json")
BROKEN: dict[str, dict[str, Any]] = {
    "rejected_by_collector": {"rejected_reason": "no_subject"},
    "event_id_missing": {"event_id": None},
    "event_id_length": {"event_id": "x" * 129},
    "event_id_not_plain": {"event_id": {"a": 1}},
    "event_type_missing": {"event_type": None, "items": None},
    "event_type_unknown": {"event_type": "teleport"},
    "subject_missing": {"subject_id": None},
    "subject_not_pseudonym": {"subject_id": "ada@example.org"},
    "event_at_invalid": {"event_at": "soon"},
    "event_at_implausible": {"event_at": "1999-12-31T23:59:59Z"},
    "received_at_invalid": {"received_at": None},
    "received_in_future": {"received_at": "2026-11-24T12:05:00.001Z"},
    "event_in_future": {"event_at": "2026-11-24T12:05:00.001Z"},
    "item_missing": {"items": []},
    "item_id_missing": {"items": [{"item_id": " ", "quantity": 1, "price": 1.0}]},
    "price_negative": {"items": [{"item_id": "mug", "quantity": 1, "price": -0.01}]},
    "price_implausible": {"items": [{"item_id": "mug", "quantity": 1, "price": 1e10}]},
    "quantity_implausible": {"items": [{"item_id": "mug", "quantity": 1_000_001, "price": 1.0}]},
    "quantity_not_positive": {"items": [{"item_id": "mug", "quantity": 0, "price": 1.0}]},
}


def failed_rules(spark: SparkSession, *messages: Any) -> list[list[str]]:
    flagged = flag_violations(decode_events(kafka_rows(spark, messages)), read_suite(SUITE))
    return [row.failed_rules for row in flagged.orderBy("kafka_offset").collect()]


def test_flag_violations_finds_nothing_when_valid(spark: SparkSession) -> None:
    assert failed_rules(spark, make_message()) == [[]]


def test_every_rule_but_malformed_has_a_breaking_message() -> None:
    assert {rule.name for rule in read_suite(SUITE).rules} == {*BROKEN, "malformed"}


@pytest.mark.parametrize("rule", BROKEN)
def test_flag_violations_names_exactly_the_rule_when_broken(spark: SparkSession, rule: str) -> None:
    good, bad = make_message(), make_message(**BROKEN[rule])

    assert failed_rules(spark, good, bad, good) == [[], [rule], []]


@pytest.mark.parametrize(
    "allowed",
    [
        {"event_at": "2026-11-24T12:05:00.000Z"},
        {"event_id": "x" * 128},
        {"event_type": "page", "items": None},
        {"items": [{"item_id": "mug", "quantity": 1, "price": 0.0}]},
    ],
    ids=["exactly_five_minutes_ahead", "longest_id", "page_without_items", "free_item"],
)
def test_flag_violations_finds_nothing_at_the_boundary(spark: SparkSession, allowed: dict[str, Any]) -> None:
    assert failed_rules(spark, make_message(**allowed)) == [[]]


@pytest.mark.parametrize(
    ("names", "is_unnamed"),
    [
        (["mug", "pen"], False), (["mug\n", "a b", "{pen}"[1:]], False), (["mug", None, "pen"], True), (["mug", "\t "], True),
        (["", "pen"], True), (["mug", "[1, 2]"], True), (["{}", "mug"], True), (["mug", ""], True),
    ],
    ids=["plain", "inner_space", "null_between", "blank_last", "empty_first", "list_last", "object_first", "empty_last"],
)  # fmt: skip
def test_item_without_a_name_is_found_wherever_it_stands(
    spark: SparkSession, names: list[str], is_unnamed: bool
) -> None:
    message = make_message(items=[{"item_id": name, "quantity": 1, "price": 1.0} for name in names])

    assert failed_rules(spark, message) == [["item_id_missing"] if is_unnamed else []]


def test_keep_valid_keeps_exactly_what_flag_violations_finds_nothing_in(spark: SparkSession) -> None:
    messages = [make_message(), b"\xff", None, b"{}", *[make_message(**broken) for broken in BROKEN.values()]]
    decoded = decode_events(kafka_rows(spark, messages))

    flagged = flag_violations(decoded, read_suite(SUITE)).where("size(failed_rules) = 0").drop("failed_rules")

    assert_df_equality(keep_valid(decoded, read_suite(SUITE)), flagged)
    assert flagged.count() == 1


def test_flag_violations_reports_malformed_when_not_json(spark: SparkSession) -> None:
    assert "malformed" in failed_rules(spark, b"\xff")[0]


@pytest.mark.parametrize(
    ("expectation", "told"),
    [
        ({"type": "expect_column_mean_to_be_between", "kwargs": {"column": "x"}, "meta": {"rule": "mean"}}, "mean"),
        (
            {
                "type": "expect_column_values_to_be_null",
                "kwargs": {"column": "x", "mostly": 0.9},
                "meta": {"rule": "m"},
            },
            "mostly",
        ),
        ({"type": "expect_column_values_to_be_null", "kwargs": {"column": "x"}}, "meta.rule"),
    ],
    ids=["type_not_row_level", "argument_unknown", "rule_name_missing"],
)
def test_read_suite_refuses_by_name_when_not_compilable(tmp_path: Path, expectation: Any, told: str) -> None:
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({"name": "s", "expectations": [expectation]}))

    with pytest.raises(ExpectationError, match=told):
        read_suite(path)


def test_read_suite_says_why_when_not_a_suite(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    path.write_text("[]")

    with pytest.raises(ExpectationError, match="not a Great Expectations suite"):
        read_suite(path)
