"""Delta tables -> fewer and larger files, sorted by what is asked for; old rows and unused files go.

Reads       every table of `schemas.TABLES`
Writes      the same tables: rows past ``maintenance.retention_days`` deleted, OPTIMIZE with Z-order, VACUUM
            table ``removals``: how many rows of which batch went
Repeating   changes nothing more; safe beside running streams (optimistic commits; a lock per table on a local disk)
"""

import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from afterclick.connectors.delta_tables import ensure_tables, table_lock, table_path
from afterclick.connectors.removals import RemovalReason, removing, settle
from afterclick.job_runner import job_context
from afterclick.schemas import TABLES
from afterclick.settings import Settings

logger = logging.getLogger(__name__)


class Layout(NamedTuple):
    """How a table is asked for: its time column, and the columns to sort files by."""

    time: str
    sort_by: tuple[str, ...]


LAYOUTS = {
    "events": Layout("event_at", ("subject_id",)),
    "late_events": Layout("event_at", ("subject_id",)),
    "enriched_items": Layout("event_at", ("item_id",)),
    "sessions": Layout("started_at", ("subject_id", "started_at")),
    "triggers": Layout("due_at", ("subject_id", "due_at")),
    "unsessioned_events": Layout("event_at", ("subject_id",)),
    "quarantine": Layout("quarantined_at", ()),
    "rejected_rows": Layout("rejected_at", ()),
    "shown_lists": Layout("shown_at", ()),
}
"""Tables not listed are compacted and vacuumed only; the others are those of ``maintenance.retention_days``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Maintain all tables."""
    with job_context("maintain_tables", argv) as (spark, settings):
        ensure_tables(spark, settings)
        for table in TABLES:
            maintain_table(spark, settings, table, now=datetime.now(UTC))
    return 0


def maintain_table(spark: SparkSession, settings: Settings, table: str, *, now: datetime) -> None:
    """Delete what is too old, compact and sort, then remove files that no version within the retention needs."""
    path, layout = table_path(settings, table), LAYOUTS.get(table)
    days = settings.maintenance.retention_days.get(table)
    settle(spark, settings, table)
    if days and layout:
        with removing(spark, settings, table, RemovalReason.RETENTION) as old:
            old.delete(F.col(layout.time) < F.lit(now - timedelta(days=days)))
    delta = DeltaTable.forPath(spark, path)
    with table_lock(path):
        optimize = delta.optimize()
        if layout and layout.sort_by:
            optimize.executeZOrderBy(*layout.sort_by)
        else:
            optimize.executeCompaction()
    delta.vacuum(settings.maintenance.vacuum_hours)
    logger.info("table maintained table=%s retention_days=%s", table, days)


if __name__ == "__main__":
    sys.exit(main())
