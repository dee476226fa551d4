"""What sessions and triggers do outside of tables: messages on Kafka, open sessions and lists in Redis."""

import time

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


def send_triggers(triggers: DataFrame, settings: Settings) -> None:
    """Send each trigger to Kafka, then compute the people's lists anew with the reason; old ones do neither.

    Parameters
    ----------
    triggers
        Rows with the columns of `schemas_sessions.TRIGGER_FIRED`.

    Notes
    -----
    ``triggers.expire_minutes`` keeps a long backlog from setting off what nobody waits for any more.
    """
    oldest = time.time() - settings.triggers.expire_minutes * 60
    current = triggers.where(F.col("due_at") >= F.timestamp_seconds(F.lit(oldest)))
    value = F.to_json(F.struct(*_MESSAGE), {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"})
    messages = current.select(F.col("subject_id").alias("key"), value.alias("value"))
    messages.write.format("kafka").options(**spark_options(settings.kafka)).option(
        "topic", settings.triggers.topic
    ).save()
    # To the driver: at most a trigger per rule and event of one batch.
    fired = current.orderBy("due_at").select("subject_id", "rule", "rule_kind", "item_ids").toArrow().to_pylist()
    reasons = {row["subject_id"]: Reason(row["rule"], row["rule_kind"], tuple(row["item_ids"])) for row in fired}
    recompute_here(reasons, settings=settings)


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
    rows: pa.Table = chosen.toArrow()  # bounded by ``kafka.max_offsets_per_trigger`` and the sessions that close
    opened = [row for row in rows.to_pylist() if row.pop("change") == OPEN]
    closed = rows.filter(pa.compute.equal(rows["change"], CLOSED)).select(["subject_id", "session_id"]).to_pylist()
    ttl = round(settings.sessions.gap_minutes * 60) + settings.streams.watermark_minutes * 60
    store = SessionStore(settings.redis)
    store.write(
        (OpenSession(**row) for row in opened),
        ((row["subject_id"], row["session_id"]) for row in closed),
        ttl_seconds=ttl,
    )
