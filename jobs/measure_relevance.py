"""Live traffic -> how each model version would have served it, drift, and a rollback when the champion is worse.

Reads       tables ``events``, ``late_events``        schemas.STORED_EVENT, since the last switch
            Redis pointer: champion and the version before (control); MLflow alias ``challenger`` (shadow)
Writes      table ``relevance``                       schemas_relevance.RELEVANCE
            tags ``drift`` of the champion, ``against_champion_live`` of the challenger; with ``--act`` the rollback
Repeating   adds a measurement; a rollback is done once, then the cooldown holds
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from afterclick.connectors import delta_tables, model_registry
from afterclick.connectors.accepted_events import read_accepted
from afterclick.holdout import visits_since
from afterclick.interactions import counted_types, select_interactions
from afterclick.job_runner import job_context
from afterclick.live_relevance import (
    Measurement,
    event_shift,
    measure_models,
    note_challenger,
    note_drift,
    rollback_reason,
    switched_at_ms,
)
from afterclick.promotion import roll_back
from afterclick.schemas_relevance import RELEVANCE
from afterclick.settings import Settings

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure once; 1 after a rollback, so that the scheduler tells somebody."""
    parser = argparse.ArgumentParser(prog="measure_relevance")
    parser.add_argument("--act", action="store_true", help="roll back when the rules say so")
    arguments, rest = parser.parse_known_args(argv)
    with job_context("measure_relevance", rest) as (spark, settings):
        return 1 if measure(spark, settings, act=arguments.act) else 0


def measure(spark: SparkSession, settings: Settings, *, act: bool) -> str | None:
    """Write one measurement; return the reason when the champion was rolled back."""
    client = model_registry.open_registry(settings)
    rules = settings.relevance
    now_ms = int(time.time() * 1000)
    since_ms = max(switched_at_ms(client, settings), now_ms - rules.window_hours * 3_600_000)
    events = select_interactions(read_accepted(spark, settings))
    acting = events.where(F.col("event_ms") >= since_ms).select("subject_id").distinct().limit(rules.max_visits)
    interactions = events.join(acting, "subject_id", how="left_semi").toArrow()
    lists = settings.recommendations
    visits = visits_since(
        interactions,
        since_ms,
        most=rules.max_visits,
        length=lists.history_length,
        counted=counted_types(lists.event_weights),
    )
    found = measure_models(client, settings, visits, event_shift(interactions, since_ms))
    write_measurements(spark, settings, found, since_ms, now_ms)
    note_drift(client, settings, found)
    note_challenger(client, settings, found)
    reason = rollback_reason(client, settings, found, now_ms)
    if reason and act:
        roll_back(settings, reason)
        return reason
    return None


def write_measurements(
    spark: SparkSession, settings: Settings, found: Sequence[Measurement], since_ms: int, now_ms: int
) -> None:
    """Append what was measured now."""
    delta_tables.ensure_tables(spark, settings)
    at, since = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (now_ms, since_ms))
    rows = [(at, since, *one.row()) for one in found]
    if rows:
        batch = spark.createDataFrame(rows, RELEVANCE)
        delta_tables.append_once(batch, settings, query="measure_relevance", table="relevance", batch_id=now_ms)
    logger.info("relevance measured models=%d visits=%d", len(rows), found[0].visits if found else 0)


if __name__ == "__main__":
    sys.exit(main())
