"""Great Expectations judges batches and tables itself, and whatever it leaves out or counts otherwise stops the job."""

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from afterclick.connectors import delta_tables
from afterclick.errors import ExpectationError
from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.quality import flag_violations, read_suite
from afterclick.schemas_dimensions import ITEM
from afterclick.settings import Settings
from afterclick.suite_validation import SampleCheck, counted
from builders import kafka_rows, make_message, subject
from jobs.ingest_events import write_events
from jobs.validate_tables import validate_tables
from poison import POISONS, poisoned

SUITE = Path("conf/expectations/events.json")


@pytest.fixture
def checked(spark: SparkSession) -> Any:
    messages = [poisoned(kind, f"bad-{n}") for n, kind in enumerate(POISONS)]
    good = [make_message(event_id=f"good-{n}") for n in range(200)]
    return flag_violations(decode_events(kafka_rows(spark, [*messages, *good])), read_suite(SUITE)).persist()


@pytest.mark.parametrize("rows", [None, 50])
def test_sample_check_agrees_with_the_compiled_rules_on_every_kind_of_poison(checked: Any, rows: int | None) -> None:
    count = checked.count()

    looked_at = SampleCheck(read_suite(SUITE), rows).check(checked, count)

    assert looked_at == count if rows is None else 20 < looked_at < 100


def test_sample_check_looks_at_nothing_when_switched_off(checked: Any) -> None:
    assert SampleCheck(read_suite(SUITE), 0).check(checked, 10) == 0


def test_sample_check_refuses_when_a_compiled_rule_finds_less(checked: Any) -> None:
    blind = checked.withColumn("failed_rules", F.array_except("failed_rules", F.array(F.lit("price_negative"))))

    with pytest.raises(ExpectationError, match="price_negative: 0 and 1"):
        SampleCheck(read_suite(SUITE), None).check(blind, 10)


class _Outcome:
    """An expectation's result as Great Expectations hands it over."""

    def __init__(self, rule: str, info: dict[str, Any]) -> None:
        self.success, self.result, self.exception_info = True, {"unexpected_count": 0}, info
        self.expectation_config = type("Config", (), {"meta": {"rule": rule}})


@pytest.mark.parametrize(
    "info",
    [{"raised_exception": True}, {"('metric', 'id')": {"raised_exception": True, "exception_message": "no column"}}],
    ids=["flat", "by_metric"],
)
def test_counted_refuses_a_result_with_an_exception(info: dict[str, Any]) -> None:
    suite = read_suite(SUITE)
    outcomes = [_Outcome(rule.name, {"raised_exception": False}) for rule in suite.rules]
    outcomes[3].exception_info = info

    with pytest.raises(ExpectationError, match=suite.rules[3].name):
        counted(type("Result", (), {"results": outcomes}), suite)


def test_counted_refuses_a_result_that_lacks_an_expectation() -> None:
    suite = read_suite(SUITE)
    outcomes = [_Outcome(rule.name, {"raised_exception": False}) for rule in suite.rules][1:]

    with pytest.raises(ExpectationError, match=f"validated {len(outcomes)} of {len(suite.rules)}"):
        counted(type("Result", (), {"results": outcomes}), suite)


def test_validate_tables_finds_nothing_after_an_ingest_and_names_what_is_broken_later(
    spark: SparkSession, tables: Settings
) -> None:
    messages: list[Any] = [make_message(), b"\xff", make_message(event_id="late", event_at="2026-11-24T10:00:00Z")]
    checked = flag_violations(decode_events(kafka_rows(spark, messages)), read_suite(SUITE))
    write_events(checked, 0, settings=tables, clock=EventClock())

    assert set(map(str, (broken := validate_tables(spark, tables)).values())) == {"{}"}, broken
    pages = list(tables.quality.data_docs.rglob("*.html"))
    assert tables.quality.data_docs / "index.html" in pages
    assert not any(subject("ada") in page.read_text() for page in pages)

    twice = spark.createDataFrame([{"item_id": "mug"}, {"item_id": "mug", "name": "Cup"}, {"item_id": ""}], ITEM)
    delta_tables.append_once(twice, tables, query="test", table="items", batch_id=0)
    assert validate_tables(spark, tables, ["items"]) == {"items": {"item_id_length": 1, "item_repeated": 2}}
