"""Accepted events -> histories and lists of one model version in Redis, then the pointer.

Reads       tables ``events``, ``late_events``        schemas.STORED_EVENT
            MLflow alias ``champion``, or a version or date given
            table ``items``                           schemas.ITEM
            the subject store's withdrawn items       withdrawn_items
Writes      Redis item ids, histories and lists of the version, the catalogue, withdrawn items, the popular list, last the pointer
Repeating   safe: histories are sets, and streams may write at the same time; a killed warming goes on where it was
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from afterclick.connectors import model_registry, redis_store
from afterclick.connectors.accepted_events import read_accepted
from afterclick.connectors.dimension_tables import publish_catalogue
from afterclick.connectors.version_pointer import VersionPointer
from afterclick.connectors.withdrawn_items import WithdrawnItems
from afterclick.crash_points import CrashPoint, crash_when
from afterclick.interactions import select_interactions
from afterclick.job_runner import job_context
from afterclick.list_updates import total, warm_spread
from afterclick.schemas import INTERACTION
from afterclick.served_model import read_recommender
from afterclick.settings import Settings
from afterclick.switching import take_over

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Warm the champion's or a given version's lists and, unless told not to, switch to it."""
    parser = argparse.ArgumentParser(prog="warm_cache")
    parser.add_argument("--version", default=None, help="model version (default: the champion)")
    parser.add_argument("--date", default=None, help="logical date of the version, instead of --version")
    parser.add_argument("--no-switch", action="store_true", help="only write lists; `afterclick model switch` follows")
    arguments, rest = parser.parse_known_args(argv)
    with job_context("warm_cache", rest) as (spark, settings):
        client = model_registry.open_registry(settings)
        version = model_registry.choose_version(client, settings, version=arguments.version, date=arguments.date)
        (write_lists if arguments.no_switch else warm)(spark, settings, version)
    return 0


def warm(spark: SparkSession, settings: Settings, version: str | None = None) -> int:
    """Write everybody's history and list of a version (None: the champion's), then switch; returns the number of people."""
    version = version or model_registry.champion_version(model_registry.open_registry(settings), settings)
    people = write_lists(spark, settings, version)
    take_over(redis_store.connect(settings.redis), read_recommender(settings, version), settings)
    return people


def write_lists(spark: SparkSession, settings: Settings, version: str) -> int:
    """Write everybody's history and list of a version beside those that are served; return the number of people.

    1. the announcement, so that whoever acts meanwhile is not missed, 2. the version's item ids, categories and stock for
    the API, 3. histories and lists, part by part.
    """
    recommender = read_recommender(settings, version)  # a version that cannot be loaded is not announced
    store = redis_store.connect(settings.redis)
    pointer = VersionPointer(store)
    pointer.announce(version)
    store.write_items(version, recommender.item_ids, expires=version != store.served_version())
    publish_catalogue(spark, settings)
    WithdrawnItems(settings).publish()
    recent = keep_recent(select_interactions(read_accepted(spark, settings)), settings.recommendations.history_length)
    with crash_when(CrashPoint.HALF_WARMED, lambda: bool(pointer.warmed_parts(version)), settings.faults.crash_point):
        people = total(warm_spread(recent, settings=settings, version=version))["written"]
    logger.info("cache warmed version=%s people=%d behind=%d", version, people, pointer.count_behind(version))
    return people


def keep_recent(interactions: DataFrame, length: int) -> DataFrame:
    """Keep each person's `length` most recent interactions, each once, and all that are as old as the last of them.

    Parameters
    ----------
    interactions
        Rows of `schemas.INTERACTION`.

    Notes
    -----
    `histories.merge_histories` then cuts among equally old ones, as it does in the stream. `received_ms` becomes the
    person's latest, as there: what was received last may be too old to be kept.
    """
    latest = Window.partitionBy("subject_id").orderBy(F.desc("event_ms"))
    everything = latest.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    distinct = interactions.groupBy("subject_id", "item_id", "event_type", "event_ms").agg(
        F.max("received_ms").alias("received_ms")
    )
    placed = distinct.select(
        "subject_id",
        "item_id",
        "event_type",
        "event_ms",
        F.max("received_ms").over(everything).alias("received_ms"),
        F.rank().over(latest).alias("_place"),
    )
    return placed.where(F.col("_place") <= length).select(*INTERACTION.names)


if __name__ == "__main__":
    sys.exit(main())
