"""Late events and visits cut in two by a sign-in -> the closed sessions as if everything had come in order.

Reads       tables ``events``, ``late_events``        schemas.STORED_EVENT, of people with something to repair
            table ``unsessioned_events``              those without ``repaired_at``
            subject store                             which pseudonyms are one person's
Writes      table ``sessions``                        schemas.SESSION, merged by id
            table ``unsessioned_events``              ``session_id`` and ``repaired_at`` of what has its session now
Repeating   changes nothing: what is the same is not written (docs/decisions/0038-session-repair.md)
"""

import logging
import operator
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce

import pandas as pd
import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.connectors.accepted_events import read_accepted
from afterclick.connectors.delta_tables import ensure_tables, read_table, table_lock, table_path
from afterclick.connectors.subject_store import open_subject_store
from afterclick.consent_filter import has_consent
from afterclick.job_runner import job_context
from afterclick.schemas_sessions import SESSION
from afterclick.session_repair import REPAIRING, Known, recut
from afterclick.session_shards import Cutting, closed_frame
from afterclick.sessions import read_operator, select_arriving
from afterclick.settings import Settings
from afterclick.vocabulary import Purpose

REACH_US = 2 * 86_400_000_000
"""Events two days around what is to be repaired are read: a longer session stays as it is."""
SAME, ADDED, CHANGED, REMOVED = "same", "added", "changed", "removed"
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


def select_wanted(sessions: DataFrame, late: DataFrame, pseudonyms: DataFrame, cutting: Cutting) -> DataFrame:
    """Return whom to look at and when (`person`, `from_us`, `to_us`): late events, and sessions to join.

    Parameters
    ----------
    sessions
        Rows of `schemas.SESSION`; one of an earlier pseudonym within the gap of one of the person's is to be joined.
    late
        Rows of `schemas.UNSESSIONED_EVENT`.
    """
    happened = F.unix_micros("event_at")
    events = with_person(late, pseudonyms).select("person", happened.alias("from_us"), happened.alias("to_us"))
    gap = F.expr(f"INTERVAL {cutting.gap_us} MICROSECOND")
    earlier = sessions.join(pseudonyms, on="subject_id", how="inner").alias("earlier")
    is_near = (
        (F.col("mine.subject_id") == F.col("earlier.person"))
        & (F.col("mine.started_at") <= F.col("earlier.ended_at") + gap)
        & (F.col("mine.ended_at") >= F.col("earlier.started_at") - gap)
    )
    cut = earlier.join(sessions.alias("mine"), on=is_near, how="inner").select(
        "earlier.person",
        F.unix_micros(F.least("earlier.started_at", "mine.started_at")),
        F.unix_micros(F.greatest("earlier.ended_at", "mine.ended_at")),
    )
    return events.union(cut)


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


def with_person(rows: DataFrame, pseudonyms: DataFrame) -> DataFrame:
    """Add `person`: the pseudonym that stands for all of theirs."""
    joined = rows.join(pseudonyms, on="subject_id", how="left")
    return joined.withColumn("person", F.coalesce("person", "subject_id"))


def with_names(rows: DataFrame) -> DataFrame:
    """Repeat rows with `person` for each pseudonym under which their session may be, `_name`: an equal join is a fast one."""
    return rows.withColumn("_name", F.explode(F.array_distinct(F.array("subject_id", "person"))))


def select_theirs(events: DataFrame, wanted: DataFrame, late: DataFrame, *, begin_us: int, end_us: int) -> DataFrame:
    """Keep the events of the people of `select_wanted`, between two times and under consent, and add `is_late`.

    Parameters
    ----------
    events
        Rows of `schemas.STORED_EVENT` with `person`.
    late
        Rows of `schemas.UNSESSIONED_EVENT`.
    """
    begin, end = (F.timestamp_micros(F.lit(at)) for at in (begin_us, end_us))
    is_near = F.col("event_date").between(F.to_date(begin), F.to_date(end)) & F.col("event_at").between(begin, end)
    theirs = events.where(is_near & has_consent(Purpose.ANALYTICS)).join(
        wanted.select("person").distinct(), on="person", how="left_semi"
    )
    ids = late.select("event_id", F.lit(True).alias("is_late")).distinct()
    return theirs.join(ids, on="event_id", how="left").withColumn("is_late", F.coalesce("is_late", F.lit(False)))


def cut_anew(events: DataFrame, cutting: Cutting, known: Known, shards: int) -> DataFrame:
    """Return rows of `schemas.SESSION`: `session_repair.recut` by groups of people.

    Parameters
    ----------
    events
        Rows of `schemas.EVENT` with `person` and `is_late`.
    """

    def recut_group(frame: pd.DataFrame) -> pd.DataFrame:
        table = pa.Table.from_pandas(frame[REPAIRING.names], schema=REPAIRING, preserve_index=False)
        return closed_frame(recut(table, cutting, known))[SESSION.names]

    shard = F.pmod(F.xxhash64("person"), F.lit(shards)).alias("shard")
    arriving = select_arriving(events, shard, F.col("person"), F.col("is_late"))
    return arriving.groupBy("shard").applyInPandas(recut_group, SESSION)


def compare_sessions(sessions: DataFrame, recut_sessions: DataFrame, pseudonyms: DataFrame) -> DataFrame:
    """Return rows of `schemas.SESSION` with `_action`: what has to happen so that the new ones replace the old.

    Parameters
    ----------
    recut_sessions
        All sessions of the runs they are in: an old one of the same person that overlaps one of them and is not among them
        is gone.
    """
    others = [name for name in SESSION.names if name != "session_id"]
    is_other = reduce(operator.or_, [~F.col(f"new.{name}").eqNullSafe(F.col(f"old.{name}")) for name in others])
    action = F.when(F.col("old.session_id").isNull(), ADDED).when(is_other, CHANGED).otherwise(SAME)
    compared = recut_sessions.alias("new").join(
        sessions.alias("old"), on=F.col("new.session_id") == F.col("old.session_id"), how="left"
    )
    kept = compared.select("new.*", action.alias("_action"))
    is_covered = (
        (F.col("new.subject_id") == F.col("old._name"))
        & (F.col("old.started_at") <= F.col("new.ended_at"))
        & (F.col("old.ended_at") >= F.col("new.started_at"))
    )
    named = with_names(with_person(sessions, pseudonyms)).alias("old")
    covered = named.join(recut_sessions.alias("new"), on=is_covered, how="left_semi").dropDuplicates(["session_id"])
    gone = covered.join(recut_sessions, on="session_id", how="left_anti")
    return kept.unionByName(gone.select(*SESSION.names, F.lit(REMOVED).alias("_action")))


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
