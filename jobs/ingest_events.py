"""Kafka topic -> checked events in Delta; every message gets exactly one fate.

Reads       Kafka topic ``kafka.events_topic``        schemas.EVENT_MESSAGE
Writes      table ``events``                          schemas.EVENT
            table ``quarantine``                      schemas.QUARANTINED_EVENT, with reasons and raw bytes
            table ``ledger``                          schemas.LEDGER, one row per batch
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
from afterclick.connectors.kept_out import open_kept_out, withdraw_consent
from afterclick.event_fates import FATES, count_fates, flag_fates, ledger_row, select_fate, select_quarantined
from afterclick.events import decode_events, select_events
from afterclick.job_metrics import job_metrics
from afterclick.job_runner import job_context, run_stream
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings

QUERY = "ingest_events"
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

    write_batch = partial(write_events, settings=settings)
    trigger_ms = settings.streams.bulk_trigger_seconds * 1000
    return delta_tables.start_stream(checked, QUERY, write_batch, settings, trigger_ms=trigger_ms, pool="bulk")


def write_events(batch: DataFrame, batch_id: int, *, settings: Settings, query: str = QUERY) -> None:
    """Write one micro-batch; repeating it with the same `batch_id` changes nothing.

    1. quarantine, 2. events, 3. the ledger: Delta skips what a crashed attempt already committed.
    Repeated event ids are found by their other Kafka position, so a replayed batch is no duplicate of itself.
    """
    batch.persist()  # read and decoded once: the fates look at it twice
    checked = withdraw_consent(batch, open_kept_out(settings))
    fates = flag_fates(
        checked, known=delta_tables.read_table(batch.sparkSession, settings, "events"), settings=settings
    )
    fates.persist()
    try:
        counts = count_fates(fates)
        parts = {
            "quarantine": select_quarantined(fates, query, batch_id),
            "events": select_events(select_fate(fates, "events")).repartition("event_date"),  # one file a date
            "ledger": ledger_row(batch.sparkSession, counts, query, delta_tables.generation(settings, query), batch_id),
        }
        for table, rows in parts.items():
            if table == "ledger" or counts[table]:
                delta_tables.append_once(rows, settings, query=query, table=table, batch_id=batch_id)
        told = " ".join(f"{fate}={counts[fate]}" for fate in FATES)
        job_metrics().count_fates(counts, FATES)
        logger.info("events stored %s batch_id=%d", told, batch_id)
    finally:
        fates.unpersist()
        batch.unpersist()


if __name__ == "__main__":
    sys.exit(main())
