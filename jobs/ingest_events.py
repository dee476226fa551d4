"""Kafka topic -> checked events in Delta; every message gets exactly one fate.

Reads       Kafka topic ``kafka.events_topic``        schemas.EVENT_MESSAGE
Writes      table ``events``                          schemas.STORED_EVENT
            table ``late_events``                     schemas.LATE_EVENT
            table ``quarantine``                      schemas.QUARANTINED_EVENT, with reasons and raw bytes
            table ``ledger``                          schemas.LEDGER, one row per batch, with its offsets
Checkpoint  ``<checkpoints>/ingest_events``
Next        jobs/build_sessions.py (reads Kafka as well), jobs/train_model.py (reads ``events``)
"""

import logging
import sys
from collections.abc import Sequence
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from afterclick.connectors import delta_tables, kafka_source
from afterclick.connectors.accepted_events import decide_fates
from afterclick.connectors.ledger import read_past
from afterclick.connectors.recent_events import RecentEvents
from afterclick.event_clock import EventClock
from afterclick.event_fates import FATES, Batch, select_parts, with_payload_hash
from afterclick.events import decode_events
from afterclick.job_metrics import job_metrics
from afterclick.job_runner import job_context, run_stream
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings
from afterclick.suite_validation import SampleCheck

QUERY = "ingest_events"
WRITTEN = ("events", "late_events", "quarantine", "ledger")
logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; non-zero when the query failed."""
    with job_context(QUERY, argv) as (spark, settings):
        return run_stream(start(spark, settings), stalled_after_seconds=settings.streams.stalled_after_seconds)


def start(spark: SparkSession, settings: Settings) -> StreamingQuery:
    """Start the query in `spark`."""
    delta_tables.ensure_tables(spark, settings, WRITTEN)
    raw = kafka_source.read_event_stream(spark, settings.kafka, most=settings.kafka.bulk_max_offsets_per_trigger)
    suite = read_suite(settings.suite_path("events"))
    checked = flag_violations(decode_events(raw), suite)

    sample_check = SampleCheck(suite, settings.quality.sample_rows)
    clock, recent = EventClock(), RecentEvents(settings.streams.known_ids)
    write_batch = partial(write_events, settings=settings, clock=clock, sample_check=sample_check, recent=recent)
    trigger_ms = settings.streams.bulk_trigger_seconds * 1000
    return delta_tables.start_stream(checked, QUERY, write_batch, settings, trigger_ms=trigger_ms, pool="bulk")


def write_events(
    checked: DataFrame,
    batch_id: int,
    *,
    settings: Settings,
    clock: EventClock | None,
    query: str = QUERY,
    sample_check: SampleCheck | None = None,
    recent: RecentEvents | None = None,
) -> None:
    """Write one micro-batch; repeating it with the same `batch_id` changes nothing.

    Before anything is written Great Expectations looks at a sample of the batch (`suite_validation`).
    1. quarantine, 2. events, 3. late events, 4. the ledger: Delta skips what a crashed attempt already committed.
    What an earlier attempt stored of this batch is no earlier event: a replayed batch is no duplicate of itself.

    Parameters
    ----------
    clock
        None where time has no order, as in imported history: then nothing is late.
    recent
        Ids that this query keeps between its batches; None: the tables are read for each.
    """
    spark, batch = checked.sparkSession, Batch(query, str(delta_tables.generation(settings, query)), batch_id)
    checked = with_payload_hash(checked).persist()  # read and decoded once: arrivals, fates and tables look at it
    with delta_tables.fates_lock(settings):
        past = clock.before(batch_id, partial(read_past, spark, settings, batch)) if clock else None
        fates, arrivals, arrived = decide_fates(checked, batch, past=past, settings=settings, recent=recent)
        counts = fates.counts
        if sample_check and counts["consumed"]:
            sample_check.check(fates.rows, counts["consumed"])
        accounted = arrivals if clock else arrivals._replace(ranges=[])
        for table, rows in select_parts(
            fates.rows, counts, accounted, batch, read_suite(settings.suite_path("events"))
        ):
            delta_tables.append_once(rows, settings, query=query, table=table, batch_id=batch_id)
        if recent:
            recent.keep(arrived, fates, batch, settings)
    checked.unpersist()
    job_metrics().count_fates(counts, FATES)
    if clock and past:
        clock.advance(batch_id, past, arrivals.ranges)
    logger.info("events stored %s batch_id=%d", " ".join(f"{fate}={counts[fate]}" for fate in FATES), batch_id)


if __name__ == "__main__":
    sys.exit(main())
