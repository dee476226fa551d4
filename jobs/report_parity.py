"""The model that served and the one retrained tonight -> how far their lists are apart, by history length and hour.

Reads       tables ``events``, ``late_events``        schemas.STORED_EVENT, of people who acted since the served
                                                      model was trained
            MLflow: the two versions, see `parity.choose_pair`
Writes      table ``parity``                          schemas_relevance.PARITY
Repeating   the same pair adds nothing: its versions name the transaction
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from threadpoolctl import threadpool_limits

from afterclick.connectors import delta_tables, model_registry
from afterclick.connectors.accepted_events import read_accepted
from afterclick.connectors.redis_store import StoredHistory
from afterclick.holdout import as_histories
from afterclick.interactions import select_interactions
from afterclick.job_runner import job_context
from afterclick.parity import Pair, choose_pair, measure_parity, trained_ms
from afterclick.parity_rules import Bin
from afterclick.schemas_relevance import PARITY
from afterclick.served_model import read_recommender
from afterclick.settings import Settings
from jobs.train_model import is_held_out

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Report once."""
    parser = argparse.ArgumentParser(prog="report_parity")
    parser.add_argument("--served", default=None, help="model version (default: what served until the newest came)")
    parser.add_argument("--retrained", default=None, help="model version (default: the newest that was not refused)")
    arguments, rest = parser.parse_known_args(argv)
    with job_context("report_parity", rest) as (spark, settings):
        report(spark, settings, served=arguments.served, retrained=arguments.retrained)
    return 0


def report(spark: SparkSession, settings: Settings, *, served: str | None = None, retrained: str | None = None) -> None:
    """Compare two versions and write the figures; nothing where there are not two."""
    client = model_registry.open_registry(settings)
    versions = choose_pair(client, settings, served=served, retrained=retrained)
    if versions is None:
        logger.info("parity not measured: there is no retrained version beside one that served")
        return
    pair = Pair(*(read_recommender(settings, version) for version in versions))
    histories, judges = read_people(spark, settings, trained_ms(pair.served.model))
    with threadpool_limits(1, "blas"):  # small systems, person by person: BLAS threads only wait for each other
        found = measure_parity(pair, histories, judges, settings)
    write_parity(spark, settings, pair, found)


def read_people(
    spark: SparkSession, settings: Settings, since_ms: int
) -> tuple[dict[str, StoredHistory], frozenset[str]]:
    """Return whole histories of people who acted since, at most ``parity.max_people``, and who of them judge models.

    Those who judge come first, then others by hash: the same people whenever they act.
    """
    interactions = select_interactions(read_accepted(spark, settings))
    acting = interactions.where(F.col("event_ms") >= since_ms).select("subject_id").distinct()
    judging = acting.withColumn("is_judge", is_held_out(settings.promotion.holdout_percent))
    ordered = judging.orderBy(F.desc("is_judge"), F.xxhash64("subject_id"), "subject_id")
    people = ordered.limit(settings.parity.max_people)  # each person once
    rows = interactions.join(people, "subject_id", how="inner").toArrow()
    judges = frozenset(rows.filter(rows["is_judge"])["subject_id"].to_pylist())
    return as_histories(rows), judges


def write_parity(spark: SparkSession, settings: Settings, pair: Pair, found: Sequence[Bin]) -> None:
    """Append the figures of a pair; a pair that was written before adds nothing."""
    delta_tables.ensure_tables(spark, settings)
    served, retrained = (one.model.version for one in pair)
    since = datetime.fromtimestamp(trained_ms(pair.served.model) / 1000, UTC)
    measured_at = datetime.now(UTC)  # of all rows: who reads the newest report asks for one moment
    rows = [(measured_at, since, served, retrained, *one) for one in found]
    if rows:
        batch = spark.createDataFrame(rows, PARITY)
        delta_tables.append_once(batch, settings, query=f"parity_{served}_{retrained}", table="parity", batch_id=0)
    told = "parity measured served=%s retrained=%s people=%d visits=%d overlap=%s ndcg_gap=%s"
    for everybody in found[:1]:
        figures = (everybody.people, everybody.visits, everybody.overlap, everybody.ndcg_gap)
        logger.info(told, served, retrained, *figures)


if __name__ == "__main__":
    sys.exit(main())
