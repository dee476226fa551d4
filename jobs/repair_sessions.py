"""Late events and visits cut in two by a sign-in -> the closed sessions as if everything had come in order.

Reads       tables ``events``, ``late_events``        schemas.STORED_EVENT, of people with something to repair
            table ``unsessioned_events``              those without ``repaired_at``
            subject store                             which pseudonyms are one person's
Writes      table ``sessions``                        schemas.SESSION, merged by id
            table ``unsessioned_events``              ``session_id`` and ``repaired_at`` of what has its session now
Repeating   changes nothing: what is the same is not written (docs/decisions/0038-session-repair.md)
"""

import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.connectors.accepted_events import read_accepted
from afterclick.connectors.delta_tables import ensure_tables, read_table, table_lock, table_path
from afterclick.connectors.subject_store import open_subject_store
from afterclick.job_runner import job_context
from afterclick.repaired_sessions import (
    ADDED,
    CHANGED,
    REMOVED,
    SAME,
    compare_sessions,
    cut_anew,
    select_theirs,
    select_wanted,
    with_names,
    with_person,
)
from afterclick.schemas_sessions import SESSION
from afterclick.session_repair import Known
from afterclick.session_shards import Cutting
from afterclick.sessions import read_operator
from afterclick.settings import Settings

REACH_US = 2 * 86_400_000_000
"""Events two days around what is to be repaired are read: a longer session stays as it is."""
logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Repair once."""
    with job_context("repair_sessions", argv) as (spark, settings):
        ensure_tables(spark, settings)
        repair_sessions(spark, settings, now=datetime.now(UTC))
    return 0


def repair_sessions(spark: SparkSession, settings: Settings, *, now: datetime) -> dict[str, int]:
    """Repair what is settled, and return how many sessions were added, changed and removed, and events repaired.

    1. sessions, 2. the mark of the late events: a crash between the two repeats the first, which then finds nothing to do.
    """
    sessions = read_table(spark, settings, "sessions")
    late = read_table(spark, settings, "unsessioned_events").where(F.col("repaired_at").isNull()).persist()
    pseudonyms = read_pseudonyms(spark, settings)
    cutting = read_operator(settings).cutting
    wanted = select_wanted(sessions, late, pseudonyms, cutting).persist()
    counts = dict.fromkeys((ADDED, CHANGED, REMOVED, "repaired"), 0)
    span = wanted.agg(F.min("from_us").alias("begin"), F.max("to_us").alias("end")).first()
    settled_us = settled_until(spark, settings, sessions, cutting)
    if span and span.begin is not None and settled_us is not None:
        known = Known(span.begin - REACH_US, settled_us)
        accepted = with_person(read_accepted(spark, settings), pseudonyms)
        events = select_theirs(accepted, wanted, late, begin_us=known.begin_us, end_us=span.end + REACH_US)
        taken = events.where("is_late").select("event_id").distinct().persist()
        taken.count()  # now: what ingest stores after this may be missing below, and waits for the next night
        recut_sessions = cut_anew(events, cutting, known, settings.sessions.shards).persist()
        changes = compare_sessions(sessions, recut_sessions, pseudonyms).where(F.col("_action") != SAME).persist()
        counts |= {row["_action"]: row["count"] for row in changes.groupBy("_action").count().collect()}
        if sum(counts.values()):
            merge_sessions(spark, settings, changes)
        counted = with_person(late, pseudonyms).join(taken, on="event_id", how="left_semi")
        counts["repaired"] = mark_repaired(spark, settings, counted, recut_sessions, now)
        for frame in (taken, recut_sessions, changes):
            frame.unpersist()
    for frame in (late, wanted):
        frame.unpersist()
    logger.info("sessions repaired %s", " ".join(f"{name}={count}" for name, count in counts.items()))
    return counts


def read_pseudonyms(spark: SparkSession, settings: Settings) -> DataFrame:
    """Return (`subject_id`, `person`) of pseudonyms that another one stands for since an identify or alias."""
    found = open_subject_store(settings).joined_pseudonyms()
    return spark.createDataFrame(list(found.items()), "subject_id string, person string")


def settled_until(spark: SparkSession, settings: Settings, sessions: DataFrame, cutting: Cutting) -> int | None:
    """Return a time in microseconds that the operator's watermark has surely passed, None when nothing says so.

    A closed session says it: all that closed with it are in the same commit. Events that ingest has not stored yet
    are not settled either.
    """
    closed = sessions.agg(F.unix_micros(F.max("ended_at")).alias("at")).first()
    stored = read_table(spark, settings, "events").agg(F.unix_micros(F.max("event_at")).alias("at")).first()
    if closed is None or stored is None or closed.at is None or stored.at is None:
        return None
    gap_us = 0 if cutting.close_on_order else cutting.gap_us
    return min(int(closed.at) + gap_us, int(stored.at))


def merge_sessions(spark: SparkSession, settings: Settings, changes: DataFrame) -> None:
    """Apply `compare_sessions`; repeating it changes nothing."""
    path = table_path(settings, "sessions")
    values = {name: F.col(f"c.{name}") for name in SESSION.names}
    with table_lock(path):
        merge = DeltaTable.forPath(spark, path).alias("t").merge(changes.alias("c"), "t.session_id = c.session_id")
        merge = merge.whenMatchedDelete(F.col("c._action") == REMOVED).whenMatchedUpdate(set=values)
        merge.whenNotMatchedInsert(F.col("c._action") == ADDED, values=values).execute()


def mark_repaired(spark: SparkSession, settings: Settings, late: DataFrame, sessions: DataFrame, now: datetime) -> int:
    """Write the session of each late event that has one now, and return their number."""
    is_inside = (F.col("s.subject_id") == F.col("l._name")) & F.col("l.event_at").between(
        F.col("s.started_at"), F.col("s.ended_at")
    )
    inside = with_names(late).alias("l").join(sessions.alias("s"), on=is_inside, how="inner")
    keys = ("event_id", "subject_id", "event_at")
    found = inside.groupBy(*[f"l.{key}" for key in keys]).agg(F.min("s.session_id").alias("session_id")).persist()
    count = found.count()  # late events of one day
    path = table_path(settings, "unsessioned_events")
    if count:
        with table_lock(path):
            same = " AND ".join(f"t.{key} = f.{key}" for key in keys)
            merge = DeltaTable.forPath(spark, path).alias("t").merge(found.alias("f"), same)
            changed = {"session_id": F.col("f.session_id"), "repaired_at": F.lit(now)}
            merge.whenMatchedUpdate(F.col("t.repaired_at").isNull(), set=changed).execute()
    found.unpersist()
    return count


if __name__ == "__main__":
    sys.exit(main())
