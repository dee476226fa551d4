"""Compacts ``events`` beside the running streams, and dies of it when told to (CP9)."""

import sys
from collections.abc import Sequence

from delta.tables import DeltaTable

from afterclick.connectors.delta_tables import table_lock, table_path
from afterclick.crash_points import CrashPoint, crash_while_writing
from afterclick.job_runner import job_context


def main(argv: Sequence[str] | None = None) -> int:
    """Write the small files of ``events`` together, under the table's lock."""
    with job_context("compaction", argv) as (spark, settings):
        path = table_path(settings, "events")
        with table_lock(path), crash_while_writing(CrashPoint.MAINTENANCE, path, settings.faults.crash_point):
            DeltaTable.forPath(spark, path).optimize().executeCompaction()
    return 0


if __name__ == "__main__":
    sys.exit(main())
