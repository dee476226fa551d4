"""Closed sessions compared with what their people's events say: which to look at, cut anew, what has to change. No I/O.

Called by `jobs/repair_sessions.py` on tables of `schemas`; the rule itself is `session_repair.recut`.
"""

import operator
from functools import reduce

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.consent_filter import has_consent
from afterclick.schemas_sessions import SESSION
from afterclick.session_repair import REPAIRING, Known, recut
from afterclick.session_shards import Cutting, closed_frame
from afterclick.sessions import select_arriving
from afterclick.shard_keys import shard_key
from afterclick.vocabulary import Purpose

SAME, ADDED, CHANGED, REMOVED = "same", "added", "changed", "removed"
"""What has to happen to a session."""


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

    shard = shard_key(events.sparkSession, "person", shards).alias("shard")
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
