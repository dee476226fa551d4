"""A candidate model -> figures and verdicts of every gate in the registry; refused or challenger.

Reads       tables ``events``, ``late_events``        schemas.STORED_EVENT, of the people kept out of training
            MLflow version of a logical date, and the champion
Writes      MLflow metrics and tags of the version, alias ``challenger``
Repeating   judges again with the same rules
Next        jobs/warm_cache.py --no-switch, then `afterclick model switch`
"""

import argparse
import sys
from collections.abc import Sequence

from pyspark.sql import SparkSession
from threadpoolctl import threadpool_limits

from afterclick.connectors import model_registry
from afterclick.connectors.accepted_events import read_accepted
from afterclick.errors import ModelRefusedError
from afterclick.gates import Gate
from afterclick.holdout import Visit, last_visits
from afterclick.interactions import counted_types, select_interactions
from afterclick.job_runner import job_context, report_refusal
from afterclick.promotion import evaluate, require_passed
from afterclick.settings import Settings
from jobs.train_model import is_held_out


def main(argv: Sequence[str] | None = None) -> int:
    """Judge one candidate; 1 when it is refused."""
    parser = argparse.ArgumentParser(prog="promote_model")
    parser.add_argument("--version", default=None, help="model version")
    parser.add_argument("--date", default=None, help="logical date of the version, instead of --version")
    parser.add_argument("--judge-only", action="store_true", help="write the verdicts; `afterclick model gate` follows")
    arguments, rest = parser.parse_known_args(argv)
    with job_context("promote_model", rest) as (spark, settings):
        client = model_registry.open_registry(settings)
        version = model_registry.choose_version(client, settings, version=arguments.version, date=arguments.date)
        judge_candidate(spark, settings, version)
        try:
            if not arguments.judge_only:
                require_passed(client, settings, version)
        except ModelRefusedError as error:
            return report_refusal(error)
    return 0


def judge_candidate(spark: SparkSession, settings: Settings, version: str) -> list[Gate]:
    """Judge a version on the last visits of the people kept out of training."""
    visits = read_visits(spark, settings)
    with threadpool_limits(1, "blas"):  # small systems, person by person: BLAS threads only wait for each other
        return evaluate(model_registry.open_registry(settings), settings, version, visits)


def read_visits(spark: SparkSession, settings: Settings) -> list[Visit]:
    """Return the last visits of the people who judge; bounded by ``promotion.max_holdout_people``."""
    rules = settings.promotion
    events = read_accepted(spark, settings).where(is_held_out(rules.holdout_percent))
    people = events.select("subject_id").distinct().orderBy("subject_id").limit(rules.max_holdout_people)
    interactions = select_interactions(events.join(people, "subject_id", how="left_semi")).toArrow()
    lists = settings.recommendations
    return last_visits(
        interactions,
        most=rules.max_holdout_people,
        length=lists.history_length,
        counted=counted_types(lists.event_weights),
    )


if __name__ == "__main__":
    sys.exit(main())
