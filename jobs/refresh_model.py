"""Accepted events and the champion -> a candidate that knows the items that came since, without a training.

Reads       tables ``events``, ``late_events``        schemas.STORED_EVENT
            the champion's files
Writes      MLflow run, artifacts, registered version without an alias
Repeating   a logical date that has a version keeps it
Next        jobs/promote_model.py
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from pyspark.sql import SparkSession

from afterclick.connectors import model_registry
from afterclick.interactions import distinct_interactions, weigh_interactions
from afterclick.item_fold_in import extend_model
from afterclick.job_runner import job_context
from afterclick.served_model import read_recommender
from afterclick.settings import Settings
from afterclick.source_training import count_again
from afterclick.training import as_matrix
from jobs.train_model import kept_version, learned_from, register_candidate, version_now

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Extend the champion and register a candidate."""
    parser = argparse.ArgumentParser(prog="refresh_model")
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M}"
    parser.add_argument(
        "--date", default=now, help="logical date, another than a training's (default: now, to the minute)"
    )
    arguments, rest = parser.parse_known_args(argv)
    with job_context("refresh_model", rest) as (spark, settings):
        refresh_candidate(spark, settings, arguments.date)
    return 0


def refresh_candidate(spark: SparkSession, settings: Settings, date: str) -> str:
    """Give the champion the items it lacks and the counts of now; return the date's version.

    1. the date's version, if it has one, is the answer; 2. factors of new items, followers, trend and repeats; 3. run
    and version in the registry. Factors of known items and the blend stay those of the last training.
    """
    client = model_registry.open_registry(settings)
    if kept := kept_version(client, settings, date):
        return kept
    begun = time.monotonic()
    champion = read_recommender(settings, model_registry.champion_version(client, settings)).model
    interactions = learned_from(spark, settings)
    weights, item_ids = as_matrix(weigh_interactions(interactions, champion.event_weights).toArrow())
    read_at = time.monotonic()
    now = datetime.now(UTC)
    trained_at = now.isoformat(timespec="milliseconds")
    extended = extend_model(champion, weights, item_ids, version=version_now(now), trained_at=trained_at)
    training = count_again(extended, distinct_interactions(interactions).toArrow(), settings)
    seconds = {"read_seconds": read_at - begun, "fit_seconds": time.monotonic() - read_at}
    logger.info("items added count=%d to=%s", len(training.model.item_ids) - len(champion.item_ids), champion.version)
    return register_candidate(
        spark, settings, training, date, parameters={"refreshed": champion.version}, seconds=seconds
    )


if __name__ == "__main__":
    sys.exit(main())
