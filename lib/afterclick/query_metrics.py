"""One log line and the metrics per micro-batch of every query: when it began, how much it read, how long it took."""

import json
import logging
import re
from datetime import datetime
from typing import NamedTuple

from pyspark.sql.streaming.listener import StreamingQueryProgress
from pyspark.sql.streaming.query import StreamingQuery

from afterclick.job_metrics import JobMetrics

logger = logging.getLogger(__name__)
_LINE = re.compile(
    r"batch done query=(\S+) batch_id=(\d+) began_at=(\S+) rows=(\d+) ms=(\d+) write_ms=(\d+)"
    r"(?: offsets_ms=(\d+) planning_ms=(\d+) log_ms=(\d+))?"
)


class BatchReport(NamedTuple):
    """What one line says; `began_at` is ISO 8601 UTC, the rest milliseconds.

    Parameters
    ----------
    write_ms
        ``foreachBatch``: Spark's plan of the batch, its job and our writer.
    offsets_ms, planning_ms, log_ms
        Asking the source; analysing and optimising before the writer; the checkpoint's offset and commit files.
    """

    query: str
    batch_id: int
    began_at: str
    rows: int
    ms: int
    write_ms: int
    offsets_ms: int = 0
    planning_ms: int = 0
    log_ms: int = 0


class BatchWatcher:
    """Sees each finished micro-batch of a query once, by asking the query for its recent progress.

    Notes
    -----
    Not a `StreamingQueryListener`: pyspark unpacks every event attribute by attribute through py4j, whether we read
    it or not, and that took 0.4 of a core at seven batches a second (docs/decisions/0007-batch-reports.md). Spark keeps
    ``spark.sql.streaming.numRecentProgressUpdates`` batches, so ask more often than that many can end.
    """

    def __init__(self, query: StreamingQuery, metrics: JobMetrics) -> None:
        self._query = query
        self._metrics = metrics
        self._last = -1

    def log_finished(self) -> None:
        """Log and measure every batch with rows that ended since the last call."""
        self._metrics.active.labels(self._query.name).set(self._query.isActive)
        progress = None
        for progress in self._query.recentProgress:
            if progress.batchId > self._last:
                self._last = progress.batchId
                if progress.numInputRows:
                    _log_batch(progress)
                    _measure_batch(progress, self._metrics)
        if progress is not None:
            self._metrics.lag.labels(progress.name).set(
                sum(lag_events(source.latestOffset, source.endOffset) for source in progress.sources)
            )


def _log_batch(progress: StreamingQueryProgress) -> None:
    took = progress.durationMs
    logger.info(
        "batch done query=%s batch_id=%d began_at=%s rows=%d ms=%d write_ms=%d offsets_ms=%d planning_ms=%d log_ms=%d",
        progress.name,
        progress.batchId,
        progress.timestamp,
        progress.numInputRows,
        took.get("triggerExecution", 0),
        took.get("addBatch", 0),
        took.get("latestOffset", 0) + took.get("getBatch", 0),
        took.get("queryPlanning", 0),
        took.get("walCommit", 0) + took.get("commitOffsets", 0),
    )


def _measure_batch(progress: StreamingQueryProgress, metrics: JobMetrics) -> None:
    query = progress.name
    metrics.batch_rows.labels(query).inc(progress.numInputRows)
    metrics.batch_seconds.labels(query).observe(progress.durationMs.get("triggerExecution", 0) / 1000)
    metrics.write_seconds.labels(query).inc(progress.durationMs.get("addBatch", 0) / 1000)
    metrics.last_batch.labels(query).set(_epoch(progress.timestamp))
    if "watermark" in progress.eventTime:
        metrics.watermark.labels(query).set(_epoch(progress.eventTime["watermark"]))


def _epoch(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def lag_events(latest: str, end: str) -> int:
    """Return the messages between two of Kafka's offsets, JSON by topic and partition; 0 for another source."""
    reached = _read_offsets(end)
    return sum(max(0, offset - reached.get(place, 0)) for place, offset in _read_offsets(latest).items())


def _read_offsets(text: str) -> dict[tuple[str, str], int]:
    try:
        topics = json.loads(text)
        return {(topic, number): int(at) for topic, numbers in topics.items() for number, at in numbers.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def read_reports(log: str, query: str) -> list[BatchReport]:
    """Return a query's batches from the text of a log; lines of an older version do not tell the parts."""
    found = [BatchReport(name, int(number), at, *_numbers(rest)) for name, number, at, *rest in _LINE.findall(log)]
    return [report for report in found if report.query == query]


def _numbers(texts: list[str]) -> list[int]:
    return [int(text or 0) for text in texts]
