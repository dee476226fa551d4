"""Accepted events -> histories and lists of one model version in Redis, then the pointer.

Reads       table ``events``                          schemas.EVENT
            MLflow alias ``champion``, or a version given
Writes      Redis histories and lists of the version, the popular list, last of all the pointer
Repeating   safe: histories are sets, and streams may write at the same time
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from afterclick.connectors import delta_tables, model_registry, redis_store
from afterclick.connectors.kept_out import drop_kept_out, open_kept_out
from afterclick.interactions import select_interactions
from afterclick.job_runner import job_context
from afterclick.list_updates import total, update_spread
from afterclick.served_model import read_recommender
from afterclick.settings import Settings
from afterclick.vocabulary import Purpose

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Warm the champion's or a given version's lists and switch to it."""
    parser = argparse.ArgumentParser(prog="warm_cache")
    parser.add_argument("--version", default=None, help="model version (default: the champion)")
    arguments, rest = parser.parse_known_args(argv)
    with job_context("warm_cache", rest) as (spark, settings):
        warm(spark, settings, arguments.version)
    return 0


def warm(spark: SparkSession, settings: Settings, version: str | None = None) -> int:
    """Write everybody's history and list, then switch; returns the number of people.

    1. histories and lists, 2. the popular list, 3. the pointer.
    """
    version = version or model_registry.champion_version(model_registry.open_registry(settings), settings)
    recommender = read_recommender(settings, version)
    store = redis_store.connect(settings.redis)
    interactions = select_interactions(delta_tables.read_table(spark, settings, "events"))
    allowed = drop_kept_out(interactions, open_kept_out(settings), Purpose.PERSONALISATION, "received_ms")
    recent = keep_recent(allowed, settings.recommendations.history_length)
    people = total(update_spread(recent, settings=settings, version=version))["written"]
    store.write_popular(recommender.popular(int(time.time() * 1000)))
    store.switch_version(version)
    logger.info("cache warmed version=%s people=%d", version, people)
    return people


def keep_recent(interactions: DataFrame, length: int) -> DataFrame:
    """Keep each person's `length` most recent rows of `schemas.INTERACTION`."""
    latest = Window.partitionBy("subject_id").orderBy(F.desc("event_ms"), F.desc("item_id"), F.desc("event_type"))
    numbered = interactions.withColumn("_place", F.row_number().over(latest))
    return numbered.where(F.col("_place") <= length).select(*interactions.columns)


if __name__ == "__main__":
    sys.exit(main())
