"""Accepted events -> a candidate model, one per logical date; an early one has a moment: 2026-11-24T15:00.

Reads       tables ``events``, ``late_events``        schemas.STORED_EVENT
Writes      MLflow run, artifacts, registered version without an alias
Repeating   a date that has a version keeps it: nothing is trained again
Next        jobs/promote_model.py
"""

import argparse
import logging
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mlflow import MlflowClient
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick import __version__
from afterclick.connectors import delta_tables, model_registry
from afterclick.connectors.accepted_events import read_accepted
from afterclick.interactions import distinct_interactions, select_interactions, weigh_interactions
from afterclick.job_runner import job_context
from afterclick.settings import Settings
from afterclick.source_training import add_sources
from afterclick.training import Training, train

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Train and register a candidate."""
    parser = argparse.ArgumentParser(prog="train_model")
    parser.add_argument("--date", default=f"{datetime.now(UTC):%Y-%m-%d}", help="logical date (default: today, UTC)")
    parser.add_argument(
        "--backend", choices=("settings", "implicit", "mllib"), default="settings", help="who trains (model.backend)"
    )
    arguments, rest = parser.parse_known_args(argv)
    with job_context("train_model", rest) as (spark, given):
        settings = trained_by(given, arguments.backend)
        if settings.model.backend == "mllib":
            spark.sparkContext.setCheckpointDir(f"{settings.storage.checkpoints}/als")
        train_candidate(spark, settings, arguments.date)
    return 0


def trained_by(settings: Settings, backend: str) -> Settings:
    """Return the settings with another backend; ``settings`` keeps theirs."""
    if backend == "settings":
        return settings
    return settings.model_copy(update={"model": settings.model.model_copy(update={"backend": backend})})


def train_candidate(spark: SparkSession, settings: Settings, date: str) -> str:
    """Train on everybody in ``events`` but the people who judge models; return the date's version.

    1. the date's version, if it has one, is the answer; 2. training; 3. run and version in the registry.
    """
    client = model_registry.open_registry(settings)
    if kept := kept_version(client, settings, date):
        return kept
    begun = time.monotonic()
    interactions = learned_from(spark, settings)
    weights = weigh_interactions(interactions, settings.recommendations.event_weights).toArrow()
    read_at = time.monotonic()
    now = datetime.now(UTC)
    training = train(
        weights,
        settings.model,
        version=version_now(now),
        trained_at=now.isoformat(timespec="milliseconds"),
        event_weights=settings.recommendations.event_weights,
    )
    fitted_at = time.monotonic()
    training = add_sources(training, distinct_interactions(interactions).toArrow(), settings)
    seconds = {"read_seconds": read_at - begun, "fit_seconds": fitted_at - read_at}
    parameters = settings.model.model_dump(include={"backend", "rank", "regularization", "alpha", "iterations", "seed"})
    seconds["blend_seconds"] = time.monotonic() - fitted_at
    return register_candidate(spark, settings, training, date, parameters=parameters, seconds=seconds)


def register_candidate(
    spark: SparkSession,
    settings: Settings,
    training: Training,
    date: str,
    *,
    parameters: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> str:
    """Register a model with what it was made of; return the date's version."""
    begun = time.monotonic()
    client = model_registry.open_registry(settings)
    users, items = training.weights.shape
    figures = {"users": float(users), "items": float(items), "interactions": float(training.weights.nnz), **seconds}
    tags = {model_registry.DATE_TAG: date, "events_delta_version": table_version(spark, settings), "code": __version__}
    registered = model_registry.register_model(
        client, settings, training.model, parameters=parameters, metrics=figures, tags=tags
    )
    figures["register_seconds"] = time.monotonic() - begun
    model_registry.log_figures(client, registered.run_id, {"register_seconds": figures["register_seconds"]})
    told = " ".join(f"{name}={figure:.1f}" for name, figure in figures.items() if name.endswith("_seconds"))
    logger.info("model trained version=%s users=%d items=%d %s", training.model.version, users, items, told)
    return str(registered.tags[model_registry.VERSION_TAG])


def kept_version(client: MlflowClient, settings: Settings, date: str) -> str | None:
    """Return the version that a date has already, whatever its status: the gates decide; None when there is none."""
    found = model_registry.find_by_date(client, settings, date)
    if found is None:
        return None
    version, status = (found.tags.get(tag) for tag in (model_registry.VERSION_TAG, model_registry.STATUS_TAG))
    logger.info("model kept date=%s version=%s status=%s", date, version, status)
    return str(version)


def version_now(now: datetime) -> str:
    """Return the name of a version made now."""
    return f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def learned_from(spark: SparkSession, settings: Settings) -> DataFrame:
    """Return `schemas.INTERACTION` of everybody but the people who judge models."""
    return select_interactions(read_accepted(spark, settings).where(~is_held_out(settings.promotion.holdout_percent)))


def is_held_out(percent: int) -> Column:
    """Return whether a person judges models and is kept out of training: the same people every night."""
    return F.pmod(F.xxhash64("subject_id"), F.lit(100)) < percent


def table_version(spark: SparkSession, settings: Settings) -> str:
    """Return the version of ``events`` that is read now."""
    path = delta_tables.table_path(settings, "events")
    history: DataFrame = spark.sql(f"DESCRIBE HISTORY delta.`{path}` LIMIT 1")
    return str(history.select("version").first()[0])  # type: ignore[index]


if __name__ == "__main__":
    sys.exit(main())
