"""Snapshots of tables, computed while something else runs."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from delta.tables import DeltaTable
from pyspark import InheritableThread
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from afterclick.connectors.delta_tables import table_path
from afterclick.settings import Settings

logger = logging.getLogger(__name__)


@contextmanager
def snapshots_ahead(spark: SparkSession, settings: Settings, tables: Sequence[str]) -> Iterator[None]:
    """Compute the newest snapshots of tables beside what runs within; they are there when it is done.

    Notes
    -----
    Delta 4.4.0 computes a table's snapshot, three Spark jobs, before each write with a transaction id; a later one shares
    what is there already, as long as nobody commits in between (docs/decisions/0060-few-polls.md). Nothing depends on it,
    so what fails here is only said: the write says it again.
    """

    def compute() -> None:
        for table in tables:
            try:
                DeltaTable.forPath(spark, table_path(settings, table)).detail().collect()
            except PySparkException as error:
                logger.warning("snapshot not computed ahead table=%s: %s", table, error)

    beside = InheritableThread(target=compute, name="snapshots")
    beside.start()
    try:
        yield
    finally:
        beside.join()
