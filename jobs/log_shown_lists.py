"""What the API showed: Kafka -> table ``shown_lists``, for click-through and counterfactual evaluation.

Reads       Kafka topic ``serving.shown_topic``       schemas_shown.SHOWN_MESSAGE
Writes      table ``shown_lists``                     schemas_shown.SHOWN_LIST
Checkpoint  ``<checkpoints>/log_shown_lists``
"""

import sys
from collections.abc import Sequence
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from afterclick.connectors import delta_tables, kafka_source
from afterclick.job_runner import job_context, run_stream
from afterclick.settings import Settings
from afterclick.shown_lists import decode_shown

QUERY = "log_shown_lists"


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; non-zero when the query failed."""
    with job_context(QUERY, argv) as (spark, settings):
        return run_stream(start(spark, settings), stalled_after_seconds=settings.streams.stalled_after_seconds)


def start(spark: SparkSession, settings: Settings) -> StreamingQuery:
    """Start the query in `spark`."""
    delta_tables.ensure_tables(spark, settings, ["shown_lists"])
    kafka = settings.kafka.model_copy(update={"events_topic": settings.serving.shown_topic})
    shown = decode_shown(kafka_source.read_event_stream(spark, kafka, most=kafka.bulk_max_offsets_per_trigger))

    write_batch = partial(write_shown, settings=settings)
    trigger_ms = settings.streams.bulk_trigger_seconds * 1000
    return delta_tables.start_stream(shown, QUERY, write_batch, settings, trigger_ms=trigger_ms, pool="bulk")


def write_shown(batch: DataFrame, batch_id: int, *, settings: Settings) -> None:
    """Append one micro-batch; repeating it with the same `batch_id` changes nothing: Delta skips it."""
    delta_tables.append_once(batch, settings, query=QUERY, table="shown_lists", batch_id=batch_id)


if __name__ == "__main__":
    sys.exit(main())
