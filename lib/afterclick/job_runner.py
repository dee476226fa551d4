"""What every job's `main` shares: arguments, settings, logging, the session, and a clean stop."""

import argparse
import logging
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from afterclick.connectors.delta_tables import stop_between_batches
from afterclick.errors import ModelRefusedError
from afterclick.job_metrics import job_metrics
from afterclick.local.jars import default_cache_dir, spark_jars
from afterclick.logs import configure_logging
from afterclick.metrics_export import exported_metrics
from afterclick.query_metrics import BatchWatcher
from afterclick.settings import Settings, load_settings
from afterclick.spark_session import build_spark
from afterclick.watchdog import Watchdog, end_stalled

logger = logging.getLogger(__name__)
STREAMS = frozenset({"build_sessions", "enrich_events", "ingest_events", "log_shown_lists", "update_recommendations"})
"""Jobs that run until they are stopped; `run_streams` runs several and is named after them."""
_LOOK_SECONDS = 0.5
"""Between two looks at the queries: batches take 50 ms or more, and Spark remembers the last 32 (conf/base.yaml)."""


@contextmanager
def job_context(
    name: str, argv: Sequence[str] | None, *, arguments: argparse.ArgumentParser | None = None
) -> Iterator[tuple[SparkSession, Settings]]:
    """Give a job its Spark session and settings; end the session afterwards, unless it was there before (Databricks)."""
    settings = load_settings(parse_args(name, argv, arguments).environment)
    configure_logging(settings.logs)
    logger.info("settings %s", settings)
    jars = spark_jars(default_cache_dir()) if settings.environment == "local" else ()
    is_stream = STREAMS.issuperset(name.split("-"))
    with exported_metrics(name, job_metrics(), settings.metrics, is_stream=is_stream):
        is_given = has_session()
        spark = build_spark(name, settings.spark, jars=jars)
        try:
            yield spark, settings
        finally:
            if not is_given:
                spark.stop()


def has_session() -> bool:
    """Return whether this process has a Spark session already: other tasks of the cluster may go on in it."""
    return SparkSession.getActiveSession() is not None


def parse_args(
    name: str, argv: Sequence[str] | None, parser: argparse.ArgumentParser | None = None
) -> argparse.Namespace:
    """Parse the arguments every job knows."""
    parser = parser or argparse.ArgumentParser(prog=name)
    parser.add_argument("--environment", default=None, help="conf/<environment>.yaml (default: local)")
    return parser.parse_args(argv)


def run_stream(*queries: StreamingQuery, stalled_after_seconds: float = 900.0) -> int:
    """Wait until a query ends, stands still or SIGTERM/SIGINT comes; stop the rest between batches.

    Returns
    -------
    int
        0 after a requested stop, 1 when a query failed or made no progress within one batch for
        `stalled_after_seconds`: restarting is the scheduler's task.
    """
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopping.append(received))
    watchers = [BatchWatcher(query, job_metrics()) for query in queries]
    stalled = _watch(queries, watchers, stopping, stalled_after_seconds)
    failures = [error for query in queries if (error := query.exception()) is not None]
    for query in queries:
        if query.isActive:
            stop_between_batches(query)
    for watcher in watchers:
        watcher.log_finished()
    for error in failures:
        _log_failure(error)
    return report_failure() if failures or stalled or not stopping else 0


def _watch(
    queries: Sequence[StreamingQuery], watchers: Sequence[BatchWatcher], stopping: list[int], limit_seconds: float
) -> list[StreamingQuery]:
    """Report batches until one query ends or stands still, or until something is in `stopping`; end what stands still."""
    watchdog = Watchdog(limit_seconds)
    stalled: list[StreamingQuery] = []
    while not (stopping or stalled) and all(query.isActive for query in queries):
        for watcher in watchers:
            watcher.log_finished()
        time.sleep(_LOOK_SECONDS)
        stalled = watchdog.find_stalled(queries)
    for query in stalled:
        end_stalled(query, limit_seconds)
    return stalled


def report_failure() -> int:
    """Note that this run has failed, for Prometheus; the exit code of a job that raises nothing."""
    job_metrics().run_failed = True
    return 1


def report_refusal(error: ModelRefusedError) -> int:
    """Log why a model was refused; the exit code of a job that did its work and says no."""
    logger.error("%s (docs/operations.md, 'A model was refused')", error)
    return 1


def _log_failure(error: StreamingQueryException) -> None:
    logger.error("query failed: %s (docs/operations.md, '%s')", error, runbook_section(str(error)))


def runbook_section(told: str) -> str:
    """Return the section of ``docs/operations.md`` for a query's failure."""
    for pattern, section in _RUNBOOK.items():
        if re.search(pattern, told):
            return section
    return "A stream stopped"


_RUNBOOK = {
    r"DATA_LOSS|failOnDataLoss|OffsetOutOfRange|offset was changed from": "A hole in Kafka",
    r"Redis does not answer": "Redis is down",
}
"""What a failure says -> where the runbook says what to do."""
