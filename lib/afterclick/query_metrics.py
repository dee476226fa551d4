"""One log line per micro-batch of every query: when it began, how much it read, how long each part took."""

import logging
import re
from typing import NamedTuple

from pyspark.sql.streaming.listener import StreamingQueryProgress
from pyspark.sql.streaming.query import StreamingQuery

logger = logging.getLogger(__name__)
_LINE = re.compile(r"batch done query=(\S+) batch_id=(\d+) began_at=(\S+) rows=(\d+) ms=(\d+) write_ms=(\d+)")


class BatchReport(NamedTuple):
    """What one line says; `began_at` is ISO 8601 UTC, the rest milliseconds."""

    query: str
    batch_id: int
    began_at: str
    rows: int
    ms: int
    write_ms: int


class BatchWatcher:
    """Sees each finished micro-batch of a query once, by asking the query for its recent progress.

    Notes
    -----
    Not a `StreamingQueryListener`: pyspark unpacks every event attribute by attribute through py4j, whether we read
    it or not, and that took 0.4 of a core at seven batches a second (docs/decisions/0007-batch-reports.md). Spark keeps
    ``spark.sql.streaming.numRecentProgressUpdates`` batches, so ask more often than that many can end.
    """

    def __init__(self, query: StreamingQuery) -> None:
        self._query = query
        self._last = -1

    def log_finished(self) -> None:
        """Log every batch with rows that ended since the last call."""
        for progress in self._query.recentProgress:
            if progress.batchId > self._last:
                self._last = progress.batchId
                if progress.numInputRows:
                    _log_batch(progress)


def _log_batch(progress: StreamingQueryProgress) -> None:
    logger.info(
        "batch done query=%s batch_id=%d began_at=%s rows=%d ms=%d write_ms=%d",
        progress.name,
        progress.batchId,
        progress.timestamp,
        progress.numInputRows,
        progress.durationMs.get("triggerExecution", 0),
        progress.durationMs.get("addBatch", 0),
    )


def read_reports(log: str, query: str) -> list[BatchReport]:
    """Return a query's batches from the text of a log."""
    found = [BatchReport(q, int(b), at, int(r), int(ms), int(w)) for q, b, at, r, ms, w in _LINE.findall(log)]
    return [report for report in found if report.query == query]
