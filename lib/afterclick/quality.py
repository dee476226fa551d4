"""Great Expectations suites compiled to one column of failed rules.

The JSON files in ``conf/expectations`` are the single contract. Great Expectations itself reads the
same files (`validate_with_great_expectations`), so both must count the same failures; a test holds
them to it. As in Great Expectations, NULL fails only the not-null expectation.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from afterclick.errors import ExpectationError
from afterclick.vocabulary import ITEM_EVENT_TYPES

Kwargs = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """One row-level expectation: its reason code, type and arguments."""

    name: str
    expectation_type: str
    kwargs: Kwargs


@dataclass(frozen=True)
class Suite:
    """A compiled suite; `rules` in the file's order."""

    name: str
    rules: tuple[Rule, ...]
    content: Kwargs


def read_suite(path: Path) -> Suite:
    """Read a suite file and make sure that every expectation in it can be compiled.

    Raises
    ------
    ExpectationError
        If the file is not a suite, an expectation has no ``meta.rule`` name or a repeated one, or is
        of a type or has an argument that is not supported; all problems at once.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = [(e["type"], e["kwargs"], e.get("meta", {}).get("rule")) for e in content["expectations"]]
        suite_name = str(content["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} is not a Great Expectations suite (name, expectations with type and kwargs): {error!r}"
        raise ExpectationError(message) from error
    problems = []
    names = [name for _, _, name in entries]
    for expectation_type, kwargs, name in entries:
        if not name or names.count(name) > 1:
            problems.append(f"{expectation_type}({kwargs.get('column')}): meta.rule {name!r} is missing or repeated")
        if expectation_type not in _FAILURES:
            problems.append(f"{expectation_type}: no such row-level rule; supported: {', '.join(sorted(_FAILURES))}")
        elif unknown := set(kwargs) - _FAILURES[expectation_type].arguments - {"column"}:
            problems.append(f"{name}: arguments {sorted(unknown)} are not supported for {expectation_type}")
    if problems:
        message = f"suite {path} cannot be compiled: {'; '.join(problems)}"
        raise ExpectationError(message)
    return Suite(suite_name, tuple(Rule(str(n), t, k) for t, k, n in entries), content)


def flag_violations(events: DataFrame, suite: Suite) -> DataFrame:
    """Add `failed_rules`, the names of all rules a row breaks, in the suite's order.

    Parameters
    ----------
    events
        Rows of `schemas.DECODED_EVENT`.

    Notes
    -----
    One pass in the JVM, no Spark job: a Great Expectations checkpoint costs 33-35 jobs a batch.
    A message that is not well formed reports only that: its other columns say nothing.
    """
    checked = with_checks(events)
    failed = F.array_compact(F.array(*[F.when(failure(rule), F.lit(rule.name)) for rule in suite.rules]))
    return checked.withColumn("failed_rules", failed).drop(*CHECK_COLUMNS)


def keep_valid(events: DataFrame, suite: Suite) -> DataFrame:
    """Keep the rows for which `flag_violations` finds nothing; a smaller plan, for the path that must be fast."""
    is_failed = reduce(or_, [failure(rule) for rule in suite.rules])
    return with_checks(events).where(~is_failed).select(*events.columns)


def with_checks(events: DataFrame) -> DataFrame:
    """Add the derived columns that suites on events refer to (`CHECK_COLUMNS`)."""
    needs_item = F.col("event_type").isin(*sorted(kind.value for kind in ITEM_EVENT_TYPES))
    unnamed = F.filter("items", lambda item: item["item_id"].isNull() | (F.trim(item["item_id"]) == ""))
    ahead = (F.unix_micros("event_at") - F.unix_micros("kafka_at")) / F.lit(1_000_000.0)
    return events.withColumns(
        {
            "required_item_count": F.when(needs_item, F.coalesce(F.size("items"), F.lit(0))).cast("long"),
            "unnamed_item_count": F.size(unnamed).cast("long"),
            "least_price": F.array_min(F.transform("items", lambda item: item["price"])),
            "least_quantity": F.array_min(F.transform("items", lambda item: item["quantity"])),
            "seconds_ahead": ahead,
        }
    )


CHECK_COLUMNS = ("required_item_count", "unnamed_item_count", "least_price", "least_quantity", "seconds_ahead")


def failure(rule: Rule) -> Column:
    """Is the row a failure of `rule`? Never null."""
    failed = _FAILURES[rule.expectation_type].condition(F.col(rule.kwargs["column"]), rule.kwargs)
    return F.coalesce(failed, F.lit(False))


def _outside(value: Column, kwargs: Kwargs) -> Column:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    failed = F.lit(False)
    if low is not None:
        failed = failed | ((value <= low) if kwargs.get("strict_min") else (value < low))
    if high is not None:
        failed = failed | ((value >= high) if kwargs.get("strict_max") else (value > high))
    return failed


@dataclass(frozen=True)
class _Failure:
    condition: Callable[[Column, Kwargs], Column]
    arguments: frozenset[str] = frozenset()


_BOUNDS = frozenset({"min_value", "max_value", "strict_min", "strict_max"})
_FAILURES: dict[str, _Failure] = {
    "expect_column_values_to_not_be_null": _Failure(lambda value, _: value.isNull()),
    "expect_column_values_to_be_null": _Failure(lambda value, _: value.isNotNull()),
    "expect_column_values_to_be_in_set": _Failure(
        lambda value, kwargs: ~value.isin(*kwargs["value_set"]), frozenset({"value_set"})
    ),
    "expect_column_values_to_match_regex": _Failure(
        lambda value, kwargs: ~value.rlike(kwargs["regex"]), frozenset({"regex"})
    ),
    "expect_column_values_to_be_between": _Failure(_outside, _BOUNDS),
    "expect_column_value_lengths_to_be_between": _Failure(
        lambda value, kwargs: _outside(F.length(value), kwargs), _BOUNDS
    ),
}
