"""Accepted events -> a new champion model.

Reads       table ``events``                          schemas.EVENT
Writes      MLflow run, artifacts, registered version with alias ``champion``
Next        jobs/warm_cache.py
"""

import logging
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables, model_registry
from afterclick.connectors.kept_out import drop_kept_out, open_kept_out
from afterclick.interactions import distinct_interactions, select_interactions, weigh_interactions
from afterclick.job_runner import job_context
from afterclick.settings import Settings
from afterclick.source_training import add_sources
from afterclick.training import train
from afterclick.vocabulary import Purpose

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, register and make champion."""
    with job_context("train_model", argv) as (spark, settings):
        train_champion(spark, settings)
    return 0


def train_champion(spark: SparkSession, settings: Settings) -> str:
    """Train on everything in ``events`` and return the new version; streams switch when the cache is warm."""
    events = delta_tables.read_table(spark, settings, "events")
    kept_out = open_kept_out(settings)
    interactions = drop_kept_out(select_interactions(events), kept_out, Purpose.PERSONALISATION, "received_ms")
    weights = weigh_interactions(interactions, settings.recommendations.event_weights)
    now = datetime.now(UTC)
    training = train(
        weights.toArrow(),
        settings.model,
        version=f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}",
        trained_at=now.isoformat(timespec="milliseconds"),
        event_weights=settings.recommendations.event_weights,
    )
    training = add_sources(training, distinct_interactions(interactions).toArrow(), settings)
    users, items = training.weights.shape
    figures = {"users": float(users), "items": float(items), "interactions": float(training.weights.nnz)}
    parameters = settings.model.model_dump(include={"rank", "regularization", "alpha", "iterations", "seed"})
    client = model_registry.open_registry(settings)
    registered = model_registry.register_model(client, settings, training.model, parameters=parameters, metrics=figures)
    model_registry.set_champion(client, settings, registered)
    logger.info("model trained version=%s users=%d items=%d", training.model.version, users, items)
    return training.model.version


if __name__ == "__main__":
    sys.exit(main())
