"""Great Expectations suites compiled to one column of failed rules.

The JSON files in ``conf/expectations`` are the single contract. Great Expectations itself reads the
same files (`validate_with_great_expectations`), so both must count the same failures; a test holds
them to it. As in Great Expectations, NULL fails only the not-null expectation.
"""

import json
from collections.abc import Callable, Mapping, Sequence
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

    @property
    def expectation(self) -> str:
        """The expectation as one would call it."""
        return f"{self.expectation_type}({', '.join(f'{name}={value!r}' for name, value in self.kwargs.items())})"


@dataclass(frozen=True)
class Suite:
    """A compiled suite: row-level `rules` in the file's order; `table_rules` only Great Expectations can judge."""

    name: str
    rules: tuple[Rule, ...]
    table_rules: tuple[Rule, ...]
    content: Kwargs


def read_suite(path: Path, *, of_table: bool = False) -> Suite:
    """Read a suite file and make sure that every expectation in it can be compiled.

    Parameters
    ----------
    of_table
        Table-level expectations (`TABLE_LEVEL`) are allowed beside row-level ones.

    Raises
    ------
    ExpectationError
        If the file is not a suite, an expectation has no ``meta.rule`` name or a repeated one, or is
        of a type or has an argument that is not supported; all problems at once.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return compile_suite(content, of_table=of_table)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} is not a Great Expectations suite (name, expectations with type and kwargs): {error!r}"
        raise ExpectationError(message) from error


def compile_suite(content: Kwargs, *, of_table: bool = False) -> Suite:
    """Compile the content of a suite file; see `read_suite`."""
    rules = [Rule(str(e.get("meta", {}).get("rule") or ""), e["type"], e["kwargs"]) for e in content["expectations"]]
    table_level = [rule for rule in rules if of_table and rule.expectation_type in TABLE_LEVEL]
    if problems := _problems(rules, table_level):
        message = f"suite {content['name']!r} cannot be compiled: {'; '.join(problems)}"
        raise ExpectationError(message)
    row_level = tuple(rule for rule in rules if rule not in table_level)
    return Suite(str(content["name"]), row_level, tuple(table_level), content)


TABLE_LEVEL = frozenset(
    {
        "expect_table_row_count_to_be_between",
        "expect_compound_columns_to_be_unique",
        "expect_column_values_to_be_unique",
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_multicolumn_sum_to_equal",
    }
)
"""Expectations that no row can be judged by, or that need two columns."""


def _problems(rules: Sequence[Rule], table_level: Sequence[Rule]) -> list[str]:
    names, problems = [rule.name for rule in rules], []
    for rule in rules:
        kind = rule.expectation_type
        if not rule.name or names.count(rule.name) > 1:
            problems.append(f"{kind}({rule.kwargs.get('column')}): meta.rule {rule.name!r} is missing or repeated")
        if rule in table_level:
            continue
        if kind not in _FAILURES:
            problems.append(f"{rule.name or kind}: {kind} is no row-level rule; known: {', '.join(sorted(_FAILURES))}")
        elif unknown := set(rule.kwargs) - _FAILURES[kind].arguments - {"column"}:
            problems.append(f"{rule.name}: arguments {sorted(unknown)} are not supported for {kind}")
        elif "column" not in rule.kwargs:
            problems.append(f"{rule.name}: {kind} needs a column")
    return problems


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
    return checked.withColumn("failed_rules", failed_names(suite)).drop(*CHECK_COLUMNS)


def keep_valid(events: DataFrame, suite: Suite) -> DataFrame:
    """Keep the rows for which `flag_violations` finds nothing; a smaller plan, for the path that must be fast."""
    is_failed = reduce(or_, [failure(rule) for rule in suite.rules])
    return with_checks(events).where(~is_failed).select(*events.columns)


def with_checks(events: DataFrame) -> DataFrame:
    """Add the derived columns that suites on events refer to (`CHECK_COLUMNS`)."""
    needs_item = F.col("event_type").isin(*sorted(kind.value for kind in ITEM_EVENT_TYPES))
    ids = F.array_join("items.item_id", _BETWEEN, null_replacement="")
    return events.withColumns(
        {
            "required_item_count": F.when(needs_item, F.coalesce(F.size("items"), F.lit(0))).cast("long"),
            "has_unnamed_item": (F.size("items") > 0) & ids.rlike(_UNNAMED),
            "least_price": F.array_min("items.price"),
            "greatest_price": F.array_max("items.price"),
            "least_quantity": F.array_min("items.quantity"),
            "greatest_quantity": F.array_max("items.quantity"),
            "event_year": F.year("event_at").cast("long"),
            "seconds_ahead": _seconds_ahead("event_at"),
            "received_seconds_ahead": _seconds_ahead("received_at"),
        }
    )


CHECK_COLUMNS = (
    "required_item_count",
    "has_unnamed_item",
    "least_price",
    "greatest_price",
    "least_quantity",
    "greatest_quantity",
    "event_year",
    "seconds_ahead",
    "received_seconds_ahead",
)
_NO_RULE = ""
_BETWEEN = "\x00"  # no id that a shop uses holds one
_UNNAMED = r"(?:^|\x00)(?:\s*(?:$|\x00)|[{\[])"  # Spark reads a JSON object as the text of a text field


def _seconds_ahead(name: str) -> Column:
    """Seconds by which a time lies after the broker's."""
    return (F.unix_micros(name) - F.unix_micros("kafka_at")) / F.lit(1_000_000.0)


def failed_names(suite: Suite) -> Column:
    """Names of the rules that a row breaks, in the suite's order.

    Notes
    -----
    ``array_compact`` would interpret all rules instead of compiling them, as every function with a lambda does with its
    argument (docs/decisions/0060-few-polls.md).
    """
    names = [F.when(failure(rule), F.lit(rule.name)).otherwise(_NO_RULE) for rule in suite.rules]
    return F.array_remove(F.array(*names), _NO_RULE)


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
