"""One log line per micro-batch of every query: when it began, how much it read, how long each part took."""

import logging
import re
from typing import Any, NamedTuple

from pyspark.sql.streaming.listener import StreamingQueryListener

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


class BatchLogger(StreamingQueryListener):
    """Logs every batch that had rows."""

    def onQueryStarted(self, event: Any) -> None:  # noqa: N802 - Spark's name
        """Do nothing: `start_stream` has said so."""

    def onQueryProgress(self, event: Any) -> None:  # noqa: N802
        """Log one batch."""
        progress = event.progress
        if not progress.numInputRows:
            return
        durations = progress.durationMs
        logger.info(
            "batch done query=%s batch_id=%d began_at=%s rows=%d ms=%d write_ms=%d",
            progress.name,
            progress.batchId,
            progress.timestamp,
            progress.numInputRows,
            durations.get("triggerExecution", 0),
            durations.get("addBatch", 0),
        )

    def onQueryIdle(self, event: Any) -> None:  # noqa: N802
        """Do nothing."""

    def onQueryTerminated(self, event: Any) -> None:  # noqa: N802
        """Do nothing: `run_stream` says so."""


def read_reports(log: str, query: str) -> list[BatchReport]:
    """Return a query's batches from the text of a log."""
    found = [BatchReport(q, int(b), at, int(r), int(ms), int(w)) for q, b, at, r, ms, w in _LINE.findall(log)]
    return [report for report in found if report.query == query]
