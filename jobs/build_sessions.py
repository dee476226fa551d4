"""Kafka topic -> closed sessions in Delta, by event time.

Reads       Kafka topic ``kafka.events_topic``        schemas.EVENT_MESSAGE
Writes      table ``sessions``                        schemas.SESSION
            table ``late_events``                     schemas.LATE_EVENT
Checkpoint  ``<checkpoints>/build_sessions``; bound to ``sessions.shards`` and ``spark.sql.shuffle.partitions``
"""

import logging
import sys
from collections.abc import Sequence
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from afterclick.connectors import delta_tables, kafka_source
from afterclick.connectors.kept_out import drop_kept_out, open_kept_out
from afterclick.consent_filter import has_consent
from afterclick.events import decode_events, select_events
from afterclick.job_metrics import job_metrics
from afterclick.job_runner import job_context, run_stream
from afterclick.quality import flag_violations, read_suite
from afterclick.schemas import LATE_EVENT, SESSION
from afterclick.sessions import sessionize
from afterclick.settings import Settings
from afterclick.vocabulary import Purpose

QUERY = "build_sessions"
logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; non-zero when the query failed."""
    with job_context(QUERY, argv) as (spark, settings):
        return run_stream(start(spark, settings))


def start(spark: SparkSession, settings: Settings) -> StreamingQuery:
    """Start the query in `spark`."""
    delta_tables.ensure_tables(spark, settings)
    raw = kafka_source.read_event_stream(spark, settings.kafka)
    checked = flag_violations(decode_events(raw), read_suite(settings.suite_path("events")))
    events = select_events(checked.where((F.size("failed_rules") == 0) & has_consent(Purpose.ANALYTICS)))
    changes = sessionize(
        events,
        gap_seconds=settings.sessions.gap_minutes * 60,
        watermark_minutes=settings.streams.watermark_minutes,
        shards=settings.sessions.shards,
    )

    write_batch = partial(write_sessions, settings=settings)
    trigger_ms = settings.streams.bulk_trigger_seconds * 1000
    return delta_tables.start_stream(changes, QUERY, write_batch, settings, trigger_ms=trigger_ms, pool="bulk")


def write_sessions(batch: DataFrame, batch_id: int, *, settings: Settings) -> None:
    """Write one micro-batch of `schemas.SESSION_CHANGE`; repeating it with the same `batch_id` changes nothing.

    1. late events, 2. closed sessions: Delta skips what a crashed attempt already committed.
    """
    batch.persist()
    received_ms = "unix_millis(coalesce(received_at, started_at))"
    allowed = drop_kept_out(batch, open_kept_out(settings), Purpose.ANALYTICS, received_ms)
    try:
        late = allowed.where("is_late").withColumn("batch_id", F.lit(batch_id).cast("long"))
        parts = {
            "late_events": late.select(*LATE_EVENT.names),
            "sessions": allowed.where("NOT is_late").select(*SESSION.names),
        }
        counts = {row.is_late: row["count"] for row in allowed.groupBy("is_late").count().collect()}  # at most two rows
        for table, rows in parts.items():
            if counts.get(table == "late_events"):
                delta_tables.append_once(rows, settings, query=QUERY, table=table, batch_id=batch_id)
        job_metrics().sessions.inc(counts.get(False, 0))
        logger.info("sessions closed count=%d late=%d batch_id=%d", counts.get(False, 0), counts.get(True, 0), batch_id)
    finally:
        batch.unpersist()


if __name__ == "__main__":
    sys.exit(main())
