"""Kafka topic -> sessions and triggers, by event time.

Reads       Kafka topic ``kafka.events_topic``        schemas.EVENT_MESSAGE
            file ``triggers.rules``, anew each batch  trigger_file
Writes      table ``sessions``                        schemas.SESSION, closed ones
            table ``unsessioned_events``              schemas.UNSESSIONED_EVENT, later than the operator's watermark
            table ``triggers``                        schemas.TRIGGER_FIRED
            table ``hot_subjects``                    schemas.HOT_SUBJECT, whose events were sampled
            Kafka topic ``triggers.topic``            one JSON object per trigger, key = subject
            Redis                                     open sessions (session_store), lists of triggered people
Checkpoint  ``<checkpoints>/build_sessions``; bound to ``sessions.shards`` and ``spark.sql.shuffle.partitions``
"""

import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from afterclick.connectors import delta_tables, kafka_source
from afterclick.connectors.checkpoint_binding import bind_checkpoint
from afterclick.consent_filter import has_consent
from afterclick.events import decode_events, select_events
from afterclick.job_runner import job_context, run_stream
from afterclick.load_shedding import sample_lagging
from afterclick.quality import flag_violations, read_suite
from afterclick.session_changes import TABLE_OF_CHANGE, drop_kept_out, split_changes
from afterclick.session_effects import LISTED, recompute_triggered, send_triggers, write_open_sessions
from afterclick.sessions import TRIGGER, read_operator, sessionize, state_layout
from afterclick.settings import Settings
from afterclick.vocabulary import Purpose

QUERY = "build_sessions"
logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; non-zero when the query failed."""
    with job_context(QUERY, argv) as (spark, settings):
        return run_stream(start(spark, settings), stalled_after_seconds=settings.streams.stalled_after_seconds)


def start(spark: SparkSession, settings: Settings) -> StreamingQuery:
    """Start the query in `spark`."""
    bound_to = {"sessions.shards": str(settings.sessions.shards), "layout of the state": state_layout()}
    bind_checkpoint(settings, QUERY, bound_to)
    delta_tables.ensure_tables(spark, settings, TABLE_OF_CHANGE.values())
    raw = kafka_source.read_event_stream(spark, settings.kafka, most=settings.kafka.bulk_max_offsets_per_trigger)
    checked = flag_violations(decode_events(raw), read_suite(settings.suite_path("events")))
    allowed = checked.where((F.size("failed_rules") == 0) & has_consent(Purpose.ANALYTICS))
    sampled = sample_lagging(allowed, settings.load)
    changes = sessionize(select_events(sampled, "sample_rate"), read_operator(settings))
    write_batch = partial(write_sessions, settings=settings)
    trigger_ms = settings.streams.bulk_trigger_seconds * 1000
    return delta_tables.start_stream(changes, QUERY, write_batch, settings, trigger_ms=trigger_ms, pool="bulk")


def write_sessions(batch: DataFrame, batch_id: int, *, settings: Settings) -> None:
    """Write one micro-batch of `schemas_sessions.SESSION_CHANGE`; repeating it changes nothing.

    1. Redis: lists of triggered people, before anything slower: a repeated batch fires the same. 2. Delta skips what a
    crashed attempt already committed. 3. Kafka: a message may come again, with the same id. 4. Redis: open sessions as
    they are.
    """
    batch.persist()
    allowed = drop_kept_out(batch, settings)
    try:
        # To the driver: at most a trigger per rule and event of one batch. This runs the operator.
        fired = allowed.where(F.col("change") == TRIGGER).select(*LISTED).toArrow()
        fired_at = datetime.now(UTC)
        recompute_triggered(fired, settings, now=fired_at)
        counts = {row["change"]: row["count"] for row in allowed.groupBy("change").count().collect()}  # five rows
        parts = split_changes(allowed, batch_id, settings, fired_at=fired_at)
        for change in counts.keys() & TABLE_OF_CHANGE.keys():
            table = TABLE_OF_CHANGE[change]
            delta_tables.append_once(parts[change], settings, query=QUERY, table=table, batch_id=batch_id)
        if counts.get(TRIGGER):
            send_triggers(parts[TRIGGER], settings)
        write_open_sessions(allowed, settings)
        logger.info("sessions built %s batch_id=%d", " ".join(f"{k}={n}" for k, n in sorted(counts.items())), batch_id)
    finally:
        batch.unpersist()


if __name__ == "__main__":
    sys.exit(main())
