"""What the session operator said -> rows of the tables it belongs to."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.connectors import delta_tables
from afterclick.connectors.kept_out import open_kept_out, with_bounds
from afterclick.schemas_sessions import HOT_SUBJECT, SESSION, TRIGGER_FIRED, UNSESSIONED_EVENT
from afterclick.sessions import CLOSED, HOT_PERSON, LATE, TRIGGER
from afterclick.settings import Settings

TABLE_OF_CHANGE = {CLOSED: "sessions", LATE: "unsessioned_events", HOT_PERSON: "hot_subjects", TRIGGER: "triggers"}
"""Table by kind of change; open sessions are not in tables."""


def drop_kept_out(changes: DataFrame, settings: Settings) -> DataFrame:
    """Leave out what the operator says of people who withdrew or were erased since it took their events.

    Parameters
    ----------
    changes
        Rows of `schemas_sessions.SESSION_CHANGE`.

    Notes
    -----
    Triggers need consent to personalisation, the rest to analytics. What is said is as old as the first event behind it.
    """
    bounded = with_bounds(changes, open_kept_out(settings))
    until = F.when(F.col("change") == TRIGGER, F.col("personalisation_until")).otherwise(F.col("analytics_until"))
    said_at = F.coalesce("received_at", "started_at", "anchor_at", F.current_timestamp())
    is_allowed = F.unix_millis(said_at) > F.greatest(until, F.col("analytics_until"))
    return bounded.where(is_allowed).select(*changes.columns)


def split_changes(changes: DataFrame, batch_id: int, settings: Settings, *, fired_at: datetime) -> dict[str, DataFrame]:
    """Return the rows of each table of `TABLE_OF_CHANGE`, by change.

    Parameters
    ----------
    changes
        Rows of `schemas_sessions.SESSION_CHANGE`.
    fired_at
        When the batch's triggers were known.
    """
    now = F.lit(fired_at)
    told = {"batch_id": F.lit(batch_id).cast("long"), "fired_at": now, "flagged_at": now}
    told["repaired_at"] = F.lit(None).cast("timestamp")
    schemas = {CLOSED: SESSION, LATE: UNSESSIONED_EVENT, HOT_PERSON: HOT_SUBJECT, TRIGGER: TRIGGER_FIRED}
    parts = {change: changes.where(F.col("change") == change).withColumns(told) for change in schemas}
    parts[LATE] = with_closed_session(parts[LATE], settings)
    return {change: rows.select(*schemas[change].names) for change, rows in parts.items()}


def with_closed_session(changes: DataFrame, settings: Settings) -> DataFrame:
    """Fill `session_id` of late events by the closed session in whose reach they are; other rows stay.

    Parameters
    ----------
    changes
        Rows of `schemas_sessions.SESSION_CHANGE`; a late event that the operator found an open session for keeps it.

    Notes
    -----
    Where two closed sessions are in reach, it is the earlier.
    """
    gap = F.expr(f"INTERVAL {round(settings.sessions.gap_minutes * 60_000)} MILLISECOND")
    late = changes.where((F.col("change") == "late") & F.col("session_id").isNull())
    closed = delta_tables.read_table(changes.sparkSession, settings, "sessions").alias("closed")
    mine = late.select("event_id", "subject_id", "event_at").alias("mine")
    is_reached = (
        (F.col("closed.subject_id") == F.col("mine.subject_id"))
        & (F.col("closed.started_at") <= F.col("mine.event_at") + gap)
        & (F.col("closed.ended_at") >= F.col("mine.event_at") - gap)
    )
    found = closed.join(F.broadcast(mine), on=is_reached, how="inner").groupBy("mine.event_id")
    earliest = found.agg(F.min_by("closed.session_id", "closed.started_at").alias("_closed_id"))
    joined = changes.join(F.broadcast(earliest), on="event_id", how="left")
    return joined.withColumn("session_id", F.coalesce("session_id", "_closed_id")).drop("_closed_id")
