"""Kafka topic -> each touched person's history and list in Redis, within a fraction of a second.

Reads       Kafka topic ``kafka.events_topic``        schemas.EVENT_MESSAGE
            Redis ``{prefix}model`` and histories     connectors.redis_store
Writes      Redis histories and lists of the served model version
Checkpoint  ``<checkpoints>/update_recommendations``
"""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from afterclick.connectors import delta_tables, kafka_source
from afterclick.connectors.kept_out import keep_allowed, open_kept_out
from afterclick.connectors.redis_store import Fence
from afterclick.crash_points import CrashPoint, crash_at
from afterclick.events import decode_events, select_events
from afterclick.interactions import select_interactions
from afterclick.job_metrics import job_metrics
from afterclick.job_runner import job_context, run_stream
from afterclick.list_updates import total, update_here, update_spread
from afterclick.load_shedding import split_lanes
from afterclick.quality import keep_valid, read_suite
from afterclick.settings import Settings

QUERY = "update_recommendations"
logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; non-zero when the query failed."""
    with job_context(QUERY, argv) as (spark, settings):
        return run_stream(start(spark, settings), stalled_after_seconds=settings.streams.stalled_after_seconds)


def start(spark: SparkSession, settings: Settings) -> StreamingQuery:
    """Start the query in `spark`."""
    raw = kafka_source.read_event_stream(spark, settings.kafka, most=settings.kafka.max_offsets_per_trigger)
    valid = keep_valid(decode_events(raw), read_suite(settings.suite_path("events")))
    interactions = select_interactions(select_events(valid)).coalesce(settings.streams.fast_tasks)

    generation = delta_tables.generation(settings, QUERY)
    write_batch = partial(write_lists, settings=settings, generation=generation)
    trigger_ms = settings.streams.fast_trigger_ms
    return delta_tables.start_stream(interactions, QUERY, write_batch, settings, trigger_ms=trigger_ms, pool="fast")


def write_lists(batch: DataFrame, batch_id: int, *, settings: Settings, generation: int) -> None:
    """Write one micro-batch of `schemas.INTERACTION`; repeating it changes nothing.

    1. per person history and list at once, fenced by generation and batch: histories are sets, lists follow from
    them. Bounded on the driver by ``kafka.max_offsets_per_trigger``.
    """
    begun = time.monotonic()
    interactions = keep_allowed(batch.toArrow(), open_kept_out(settings))
    fence = Fence(generation, batch_id)
    if len(interactions) <= settings.recommendations.driver_rows:
        lanes = split_lanes(interactions, settings.load)
        result = pa.concat_tables([update_here(lane, settings=settings, fence=fence) for lane in lanes])
    else:
        result = update_spread(batch.sparkSession.createDataFrame(interactions), settings=settings, fence=fence)
    crash_at(CrashPoint.REDIS_DONE, settings.faults.crash_point)
    _measure(interactions, total(result))
    told = " ".join(f"{name}={count}" for name, count in total(result).items())
    took_ms = (time.monotonic() - begun) * 1000
    logger.info("lists updated %s batch_id=%d ms=%d", told, batch_id, took_ms)


def _measure(interactions: pa.Table, outcomes: Mapping[str, int]) -> None:
    now_ms = int(time.time() * 1000)
    types = {str(row["values"]): row["counts"] for row in pc.value_counts(interactions["event_type"]).to_pylist()}
    received_ms = interactions["received_ms"].to_numpy()
    job_metrics().count_lists(received_ms, types, outcomes, now_ms=now_ms)


if __name__ == "__main__":
    sys.exit(main())
