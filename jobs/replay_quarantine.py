"""Quarantined messages, repaired, -> the tables, through the same checks as live ones.

Reads       table ``quarantine``                      schemas.QUARANTINED_EVENT
            a fix file                                quarantine_fixes
Writes      tables ``events``, ``ledger``             as jobs/ingest_events.py does; nothing is late
            table ``quarantine``                      ``replayed_at`` and ``replay_fate`` of what left it
Repeating   adds nothing: what left quarantine is not selected again; an interrupted run is finished first
Next        jobs/warm_cache.py: histories take replayed events in when the cache is rebuilt
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import SparkSession

from afterclick.arrived import UNORDERED
from afterclick.connectors import delta_tables, replay_runs
from afterclick.connectors.accepted_events import decide_fates
from afterclick.decided_fates import Fates
from afterclick.event_fates import FATES, select_parts, with_payload_hash
from afterclick.events import decode_events
from afterclick.job_runner import job_context
from afterclick.quality import flag_violations, read_suite
from afterclick.quarantine import Selection, select_repaired
from afterclick.quarantine_fixes import Steps, read_fixes
from afterclick.settings import Settings

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Replay what the arguments select; `afterclick quarantine replay` knows more of them."""
    parser = argparse.ArgumentParser(prog="replay_quarantine")
    parser.add_argument("--fix", type=Path, default=None, help="YAML file with set, rename and cast steps")
    parser.add_argument("--reason", action="append", default=[], help="only messages with this reason; repeatable")
    arguments, rest = parser.parse_known_args(argv)
    steps = read_fixes(arguments.fix) if arguments.fix else ()
    with job_context(replay_runs.QUERY, rest) as (spark, settings):
        replay(spark, settings, Selection(reasons=tuple(arguments.reason)), steps)
    return 0


def replay(spark: SparkSession, settings: Settings, selection: Selection, steps: Steps) -> dict[str, int]:
    """Return the selected messages by what became of them; ``quarantine`` are those that still fail."""
    delta_tables.ensure_tables(spark, settings)
    with delta_tables.fates_lock(settings):
        if unfinished := replay_runs.unfinished_run(settings):
            logger.warning("finishing the interrupted run number=%d first", unfinished.number)
            finish(spark, settings, unfinished)
        version = replay_runs.quarantine_version(spark, settings)
        return finish(spark, settings, replay_runs.begin_run(settings, version, selection.condition(), steps))


def try_out(spark: SparkSession, settings: Settings, selection: Selection, steps: Steps) -> dict[str, int]:
    """Return what `replay` would, and write nothing."""
    version = replay_runs.quarantine_version(spark, settings)
    return decide(spark, settings, replay_runs.ReplayRun(version, selection.condition(), steps)).counts


def finish(spark: SparkSession, settings: Settings, run: replay_runs.ReplayRun) -> dict[str, int]:
    """Write one run; after a crash it ends the same.

    1. events, 2. the ledger: Delta skips what is committed; 3. the marks in quarantine, 4. the run is forgotten.
    """
    batch, suite = run.batch(settings), read_suite(settings.suite_path("events"))
    rows, counts, _ = decide(spark, settings, run)
    fates = rows.localCheckpoint()  # its plan reads quarantine, which the last step changes
    left = {**counts, "consumed": counts["consumed"] - counts["quarantine"], "quarantine": 0}
    for table, rows in select_parts(fates, left, UNORDERED, batch, suite):
        delta_tables.append_once(rows, settings, query=batch.query, table=table, batch_id=batch.batch_id)
    replay_runs.mark_replayed(spark, settings, fates)
    replay_runs.end_run(settings)
    logger.info("quarantine replayed %s", " ".join(f"{fate}={counts[fate]}" for fate in FATES))
    return counts


def decide(spark: SparkSession, settings: Settings, run: replay_runs.ReplayRun) -> Fates:
    """Return the fates of a run's repaired messages; nothing is written."""
    raw = select_repaired(replay_runs.read_run(spark, settings, run), run.steps)
    checked = with_payload_hash(flag_violations(decode_events(raw), read_suite(settings.suite_path("events"))))
    return decide_fates(checked, run.batch(settings), past=None, settings=settings).fates


if __name__ == "__main__":
    sys.exit(main())
