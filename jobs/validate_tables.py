"""Every Delta table against its suite, by Great Expectations and by the compiled rules; Data Docs as HTML.

Reads       every table of schemas.TABLES; suites in ``conf/expectations/tables``
Writes      ``quality.data_docs``                     HTML: counts only, no values
Fails       when a table breaks its suite, or when Great Expectations and the compiled rules count differently
"""

import logging
import sys
from collections.abc import Iterable, Sequence

from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.job_runner import job_context, report_failure
from afterclick.quality import read_suite
from afterclick.schemas import TABLES
from afterclick.settings import Settings
from afterclick.suite_validation import compare_counts, count_failures, counted, open_context, validate_table

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Validate all tables; 1 when one of them breaks its suite."""
    with job_context("validate_tables", argv) as (spark, settings):
        return report_failure() if any(validate_tables(spark, settings).values()) else 0


def validate_tables(
    spark: SparkSession, settings: Settings, names: Iterable[str] = tuple(TABLES)
) -> dict[str, dict[str, int]]:
    """Return, by table of `names`, the rules that do not hold with their numbers of failures.

    Raises
    ------
    ExpectationError
        If a suite cannot be compiled or the two ways of counting differ.
    """
    suites = {table: read_suite(settings.suite_path(f"tables/{table}"), of_table=True) for table in names}
    delta_tables.ensure_tables(spark, settings)
    context = open_context(settings.quality.data_docs)
    broken: dict[str, dict[str, int]] = {}
    for table, suite in suites.items():
        rows = delta_tables.read_table(spark, settings, table)
        result = validate_table(context, rows, suite)
        theirs = counted(result, suite)
        compare_counts(suite, count_failures(rows, suite), theirs)
        failed = {outcome.expectation_config.meta["rule"] for outcome in result.results if not outcome.success}
        broken[table] = {rule: theirs[rule] for rule in sorted(failed)}
        logger.info("table validated table=%s rules=%d broken=%s", table, len(theirs), broken[table] or "none")
    context.build_data_docs()
    logger.info("data docs written to %s", settings.quality.data_docs / "index.html")
    return broken


if __name__ == "__main__":
    sys.exit(main())
