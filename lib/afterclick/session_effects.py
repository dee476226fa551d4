"""What sessions and triggers do outside of tables: messages on Kafka, open sessions and lists in Redis."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.connectors.session_store import OpenSession, SessionStore
from afterclick.kafka_security import spark_options
from afterclick.list_updates import recompute_here
from afterclick.recommendations import Reason
from afterclick.sessions import CLOSED, OPEN
from afterclick.settings import Settings

_MESSAGE = ("trigger_id", "rule", "rule_kind", "subject_id", "item_ids", "due_at", "anchor_at", "fired_at")
LISTED = ("subject_id", "rule", "rule_kind", "item_ids", "due_at")
"""What a list needs to know of a trigger."""


def recompute_triggered(triggers: pa.Table, settings: Settings, *, now: datetime) -> None:
    """Compute the lists of triggered people anew, with the reason.

    Parameters
    ----------
    triggers
        Columns of `schemas_sessions.TRIGGER_FIRED`, at least `LISTED`.

    Notes
    -----
    ``triggers.expire_minutes`` keeps a long backlog from setting off what nobody waits for any more, here and in
    `send_triggers`.
    """
    current = [row for row in triggers.sort_by("due_at").to_pylist() if row["due_at"] >= _oldest_due(settings, now)]
    reasons = {row["subject_id"]: Reason(row["rule"], row["rule_kind"], tuple(row["item_ids"])) for row in current}
    if reasons:
        recompute_here(reasons, settings=settings)


def send_triggers(triggers: DataFrame, settings: Settings) -> None:
    """Send each trigger to Kafka, but those that are older than ``triggers.expire_minutes``.

    Parameters
    ----------
    triggers
        Rows with the columns of `schemas_sessions.TRIGGER_FIRED`.
    """
    current = triggers.where(F.col("due_at") >= F.lit(_oldest_due(settings, datetime.now(UTC))))
    value = F.to_json(F.struct(*_MESSAGE), {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"})
    messages = current.select(F.col("subject_id").alias("key"), value.alias("value"))
    messages.write.format("kafka").options(**spark_options(settings.kafka)).option(
        "topic", settings.triggers.topic
    ).save()


def _oldest_due(settings: Settings, now: datetime) -> datetime:
    return now - timedelta(minutes=settings.triggers.expire_minutes)


def write_open_sessions(changes: DataFrame, settings: Settings) -> None:
    """Store the open sessions with new events, and forget the closed ones.

    Parameters
    ----------
    changes
        Rows of `schemas_sessions.SESSION_CHANGE`.
    """
    names = [name for name in OpenSession.__struct_fields__ if name not in {"started_ms", "ended_ms"}]
    times = [F.unix_millis(f"{name}_at").alias(f"{name}_ms") for name in ("started", "ended")]
    chosen = changes.where(F.col("change").isin(OPEN, CLOSED)).select("change", *names, *times)
    rows: pa.Table = chosen.toArrow()  # bounded by ``kafka.bulk_max_offsets_per_trigger`` and the sessions that close
    opened = [row for row in rows.to_pylist() if row.pop("change") == OPEN]
    closed = rows.filter(pa.compute.equal(rows["change"], CLOSED)).select(["subject_id", "session_id"]).to_pylist()
    ttl = round(settings.sessions.gap_minutes * 60) + settings.streams.watermark_minutes * 60
    store = SessionStore(settings.redis)
    store.write(
        (OpenSession(**row) for row in opened),
        ((row["subject_id"], row["session_id"]) for row in closed),
        ttl_seconds=ttl,
    )
