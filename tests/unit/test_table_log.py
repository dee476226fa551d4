"""A table's log says without Spark whether somebody else wrote."""

import shutil
from pathlib import Path

from pyspark.sql import SparkSession

from afterclick.arrived import UNORDERED
from afterclick.connectors import delta_tables
from afterclick.connectors.table_log import is_newest, newest_commit, own_commit
from afterclick.event_fates import NO_FATES, Batch, ledger_row
from afterclick.settings import Settings


def append(spark: SparkSession, settings: Settings, batch_id: int, query: str = "ours") -> tuple[str, int]:
    row = ledger_row(spark, NO_FATES, UNORDERED, Batch(query, "1", batch_id))
    delta_tables.append_once(row, settings, query=query, table="ledger", batch_id=batch_id)
    return delta_tables.transaction_id(settings, query, "ledger"), batch_id


def test_own_commit_is_the_next_one_of_the_transaction(spark: SparkSession, tables: Settings) -> None:
    before = newest_commit(tables, "ledger")
    assert before
    assert is_newest(tables, "ledger", before)

    transaction = append(spark, tables, 0)
    own = own_commit(tables, "ledger", before, transaction)

    assert own
    assert own == newest_commit(tables, "ledger")
    assert own.version == before.version + 1
    assert not is_newest(tables, "ledger", before)
    assert is_newest(tables, "ledger", own)
    assert own_commit(tables, "ledger", before, (transaction[0], 1)) is None


def test_own_commit_is_none_when_another_wrote_before_or_after(spark: SparkSession, tables: Settings) -> None:
    before = newest_commit(tables, "ledger")
    assert before
    ours = append(spark, tables, 0)
    between = newest_commit(tables, "ledger")
    assert between
    append(spark, tables, 0, query="theirs")

    assert own_commit(tables, "ledger", before, ours) is None
    assert own_commit(tables, "ledger", between, ours) is None


def test_own_commit_is_none_when_delta_skipped_a_repeated_batch(spark: SparkSession, tables: Settings) -> None:
    append(spark, tables, 0)
    before = newest_commit(tables, "ledger")
    assert before

    assert own_commit(tables, "ledger", before, append(spark, tables, 0)) is None
    assert is_newest(tables, "ledger", before)


def test_a_table_made_anew_is_not_the_one_that_was_left(spark: SparkSession, tables: Settings) -> None:
    commit = newest_commit(tables, "ledger")
    assert commit
    path = Path(delta_tables.table_path(tables, "ledger"))
    shutil.rmtree(path)
    assert newest_commit(tables, "ledger") is None

    delta_tables.ensure_tables(spark, tables, ["ledger"])

    assert not is_newest(tables, "ledger", commit)
