"""Kafka topic -> each touched person's history and list in Redis, within a fraction of a second.

Reads       Kafka topic ``kafka.events_topic``        schemas.EVENT_MESSAGE
            Redis ``{prefix}model`` and histories     connectors.redis_store
Writes      Redis histories and lists of the served model version
Checkpoint  ``<checkpoints>/update_recommendations``
"""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from afterclick.connectors import delta_tables, kafka_source, redis_store
from afterclick.connectors.redis_store import Fence
from afterclick.events import decode_events, select_events
from afterclick.interactions import select_interactions
from afterclick.job_runner import job_context, run_stream
from afterclick.quality import keep_valid, read_suite
from afterclick.recommendations import RESULT, update_lists
from afterclick.served_model import read_recommender
from afterclick.settings import Settings

QUERY = "update_recommendations"
logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; non-zero when the query failed."""
    with job_context(QUERY, argv) as (spark, settings):
        return run_stream(start(spark, settings))


def start(spark: SparkSession, settings: Settings) -> StreamingQuery:
    """Start the query in `spark`."""
    raw = kafka_source.read_event_stream(spark, settings.kafka)
    valid = keep_valid(decode_events(raw), read_suite(settings.conf_dir / "expectations" / "events.json"))
    interactions = select_interactions(select_events(valid))

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
    interactions = batch.toArrow()
    update = partial(update_served, settings=settings, fence=Fence(generation, batch_id))
    if len(interactions) <= settings.recommendations.driver_rows:
        result = update(interactions)
    else:
        spread = batch.sparkSession.createDataFrame(interactions).repartition("subject_id")
        result = spread.mapInArrow(partial(_update_partition, update=update), "written bigint, fenced bigint").toArrow()
    written, fenced = (sum(result[name].to_pylist()) for name in RESULT.names)
    logger.info(
        "lists written count=%d fenced=%d batch_id=%d ms=%d",
        written,
        fenced,
        batch_id,
        (time.monotonic() - begun) * 1000,
    )


def update_served(interactions: pa.Table, *, settings: Settings, fence: Fence) -> pa.Table:
    """Update lists of the version served now."""
    if len(interactions) == 0:
        return RESULT.empty_table()
    store = redis_store.connect(settings.redis)
    version = store.served_version()
    recommender = read_recommender(settings, version) if version else None
    length, now_ms = settings.recommendations.history_length, int(time.time() * 1000)
    return update_lists(interactions, recommender, store, length=length, fence=fence, now_ms=now_ms)


def _update_partition(batches: Iterator[pa.RecordBatch], *, update: partial[pa.Table]) -> Iterator[pa.RecordBatch]:
    collected = list(batches)
    if collected:
        yield from update(pa.Table.from_batches(collected)).to_batches()


if __name__ == "__main__":
    sys.exit(main())
