"""Great Expectations itself on the suites: a sample of each ingest batch, and whole tables with Data Docs.

The compiled rules (`quality`) judge every row; here the library they were compiled from judges again, and any
difference stops the job: a rule that silently finds nothing would let everything through.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.errors import ExpectationError
from afterclick.quality import Suite, failure, with_checks

logger = logging.getLogger(__name__)
_RESULTS = {"result_format": "BASIC", "partial_unexpected_count": 0}  # counts only: no ids in documents
_SITE = "afterclick"


class SampleCheck:
    """Validates a sample of each batch with Great Expectations' pandas engine: no Spark job but the sample's own.

    Parameters
    ----------
    suite
        A suite of row-level rules.
    rows
        About how many rows of a batch are looked at; None for all, 0 for none.
    """

    def __init__(self, suite: Suite, rows: int | None) -> None:
        self.suite, self.rows = suite, rows
        if rows != 0:  # loading takes seconds, in every start
            source = open_context().data_sources.add_pandas("batches")
            self._batches = source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("batch")

    def check(self, checked: DataFrame, count: int) -> int:
        """Compare both counts on a sample of a batch and return its size.

        Parameters
        ----------
        checked
            Rows of `schemas.DECODED_EVENT` with `failed_rules` and whatever else; persisted by the caller.
        count
            Their number.

        Raises
        ------
        ExpectationError
            If the two count differently, or Great Expectations left something out.
        """
        if self.rows == 0 or not count:
            return 0
        columns = sorted({str(rule.kwargs["column"]) for rule in self.suite.rules})
        every = 1 if self.rows is None else -(-count // self.rows)
        drawn = F.pmod(F.xxhash64("kafka_partition", "kafka_offset"), F.lit(every)) == 0
        sample = with_checks(checked.where(drawn)).select(*columns, "failed_rules").toArrow().to_pandas()
        batch = self._batches.get_batch({"dataframe": sample.drop(columns="failed_rules")})
        theirs = counted(validate(batch, self.suite), self.suite)
        failed = sample["failed_rules"].explode().value_counts()
        compare_counts(self.suite, {rule.name: int(failed.get(rule.name, 0)) for rule in self.suite.rules}, theirs)
        return len(sample)


def open_context(docs: Path | None = None) -> Any:
    """Return a Great Expectations context in memory; with a folder for Data Docs when one is given."""
    import great_expectations as gx  # noqa: PLC0415 - takes seconds and 100 MB: only where it judges

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    if docs:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())}
        index = {"class_name": "DefaultSiteIndexBuilder"}
        site = {"class_name": "SiteBuilder", "store_backend": store, "site_index_builder": index}
        context.add_data_docs_site(_SITE, site)
    return context


def validate(batch: Any, suite: Suite) -> Any:
    """Validate a batch of Great Expectations with a suite."""
    return batch.validate(as_expectations(suite), result_format=_RESULTS)


def validate_table(context: Any, table: DataFrame, suite: Suite) -> Any:
    """Validate a table on Spark, keep the result for the context's Data Docs, and return it."""
    import great_expectations as gx  # noqa: PLC0415 - takes seconds and 100 MB: only where it judges

    source = context.data_sources.add_or_update_spark(suite.name, persist=False)
    whole = source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("whole")
    expectations = context.suites.add_or_update(as_expectations(suite))
    definition = gx.ValidationDefinition(name=suite.name, data=whole, suite=expectations)
    checkpoint = gx.Checkpoint(
        name=suite.name,
        validation_definitions=[context.validation_definitions.add_or_update(definition)],
        result_format=_RESULTS,
    )
    run = context.checkpoints.add_or_update(checkpoint).run(batch_parameters={"dataframe": table})
    return next(iter(run.run_results.values()))


def as_expectations(suite: Suite) -> Any:
    """Return the suite as Great Expectations' own object."""
    import great_expectations as gx  # noqa: PLC0415 - takes seconds and 100 MB: only where it judges

    return gx.ExpectationSuite(name=suite.name, expectations=[dict(e) for e in suite.content["expectations"]])


def counted(result: Any, suite: Suite) -> dict[str, int]:
    """Return the failures that Great Expectations counts, by rule.

    Raises
    ------
    ExpectationError
        If an expectation is missing in the result or raised an exception: then nothing was proven.
    """
    wanted = len(suite.content["expectations"])
    raised = [_rule(outcome) for outcome in result.results if _has_raised(outcome.exception_info)]
    if len(result.results) != wanted or raised:
        message = (
            f"Great Expectations validated {len(result.results)} of {wanted} expectations of suite {suite.name}; "
            f"with an exception: {', '.join(raised) or 'none'}. Nothing is proven; see the log of Great Expectations."
        )
        raise ExpectationError(message)
    return {
        _rule(outcome): int(outcome.result.get("unexpected_count", 0 if outcome.success else 1) or 0)
        for outcome in result.results
    }


def compare_counts(suite: Suite, ours: Mapping[str, int], theirs: Mapping[str, int]) -> None:
    """Compare the compiled row rules with Great Expectations.

    Raises
    ------
    ExpectationError
        If a rule counts differently, with both counts.
    """
    differences = [f"{name}: {count} and {theirs[name]}" for name, count in ours.items() if theirs[name] != count]
    if differences:
        message = (
            f"suite {suite.name}: compiled rules and Great Expectations count different failures: "
            f"{'; '.join(differences)}. The rules in quality.py or the library's version are at fault; do not go on."
        )
        raise ExpectationError(message)


def count_failures(table: DataFrame, suite: Suite) -> dict[str, int]:
    """Return the failures that the compiled row rules count, by rule, in one pass."""
    if not suite.rules:
        return {}
    counts = table.agg(*[F.count_if(failure(rule)).alias(rule.name) for rule in suite.rules]).first()
    return counts.asDict() if counts else {}


def _has_raised(info: Mapping[str, Any]) -> bool:
    """Tell whether an exception is in the information, which is flat or by metric."""
    if "raised_exception" in info:
        return bool(info["raised_exception"])
    return any(_has_raised(inner) for inner in info.values() if isinstance(inner, Mapping))


def _rule(outcome: Any) -> str:
    return str(outcome.expectation_config.meta["rule"])
