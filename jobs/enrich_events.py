"""Accepted events -> one row per item with catalogue and customer attributes.

Reads       table ``events`` as a stream              schemas.EVENT
            tables ``items``, ``customers``           schemas_dimensions, the newest snapshot at each batch
Writes      table ``enriched_items``                  schemas_dimensions.ENRICHED_ITEM
Checkpoint  ``<checkpoints>/enrich_events``
"""

import logging
import sys
from collections.abc import Sequence
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from afterclick.connectors import delta_tables
from afterclick.connectors.dimension_tables import rejoin_items, table_version
from afterclick.connectors.kept_out import open_kept_out, withdraw_consent
from afterclick.enrichment import enrich_events
from afterclick.job_runner import job_context, run_stream
from afterclick.settings import Settings

QUERY = "enrich_events"
logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; non-zero when the query failed."""
    with job_context(QUERY, argv) as (spark, settings):
        return run_stream(start(spark, settings))


def start(spark: SparkSession, settings: Settings) -> StreamingQuery:
    """Start the query in `spark`."""
    delta_tables.ensure_tables(spark, settings)
    # Erased people change old files; what they had written is erased here by its own commit.
    reader = spark.readStream.format("delta").option("skipChangeCommits", "true")
    events = reader.load(delta_tables.table_path(settings, "events"))

    write_batch = partial(write_enriched, settings=settings, joined={})
    trigger_ms = settings.streams.bulk_trigger_seconds * 1000
    return delta_tables.start_stream(events, QUERY, write_batch, settings, trigger_ms=trigger_ms, pool="bulk")


def write_enriched(batch: DataFrame, batch_id: int, *, settings: Settings, joined: dict[str, int]) -> None:
    """Write one micro-batch of `schemas.EVENT`; repeating it with the same `batch_id` changes nothing.

    Left out is who withdrew or was erased since ``events`` was written.
    1. append: Delta skips what a crashed attempt already committed, 2. where the catalogue changed since `joined`, rejoin
    the items that were unknown.
    """
    spark = batch.sparkSession
    version = table_version(spark, settings, "items")
    dimensions = [delta_tables.read_table(spark, settings, name) for name in ("items", "customers")]
    allowed = withdraw_consent(batch, open_kept_out(settings)).where("NOT is_kept_out")
    enriched = enrich_events(allowed, *dimensions).repartition("event_date")  # one file a date
    delta_tables.append_once(enriched, settings, query=QUERY, table="enriched_items", batch_id=batch_id)
    if joined.get("items") != version:
        rejoin_items(spark, settings)
        joined["items"] = version
    logger.info("events enriched batch_id=%d items_version=%d", batch_id, version)


if __name__ == "__main__":
    sys.exit(main())
