"""Ends a streaming query whose batch goes neither on nor wrong: a job that hangs looks healthy to a scheduler."""

import faulthandler
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql.streaming.query import StreamingQuery

logger = logging.getLogger(__name__)
_EXIT_SECONDS = 90
_LOOK_SECONDS = 5.0


@dataclass
class Watchdog:
    """Tells whether a query stands still; a query that waits for data does not.

    Parameters
    ----------
    limit_seconds
        Longest time in one batch.
    """

    limit_seconds: float
    _looked_at: float = 0.0
    _since: dict[str, tuple[Any, float]] = field(default_factory=dict)

    def find_stalled(self, queries: Iterable[StreamingQuery]) -> list[StreamingQuery]:
        """Return the queries that stand still; looks seldom, because each look asks the JVM."""
        now = time.monotonic()
        if now - self._looked_at < min(_LOOK_SECONDS, self.limit_seconds):
            return []
        self._looked_at = now
        return [query for query in queries if self._is_stalled(query, now)]

    def _is_stalled(self, query: StreamingQuery, now: float) -> bool:
        last = query.lastProgress
        progress = last and (last.batchId, last.timestamp)
        return self.has_stood_still(query.id, progress, is_busy=query.status["isTriggerActive"], now=now)

    def has_stood_still(self, name: str, progress: Any, *, is_busy: bool, now: float) -> bool:
        """Tell whether `progress` has been the same, and the query busy, for longer than the limit."""
        doing = progress if is_busy else None, is_busy
        before, since = self._since.get(name, (doing, now))
        if not is_busy or doing != before:
            since = now
        self._since[name] = (doing, since)
        return now - since > self.limit_seconds


def end_stalled(query: StreamingQuery, limit_seconds: float) -> None:
    """Stop a query that may not listen; if this process does not end in time either, print all stacks and end it."""
    faulthandler.dump_traceback_later(_EXIT_SECONDS, exit=True)
    logger.error(
        "query stalled name=%s: no progress for %d s in one batch (docs/operations.md, 'A stream stopped')",
        query.name,
        limit_seconds,
    )
    faulthandler.dump_traceback()
    try:
        query.stop()
    except Py4JJavaError as error:
        logger.warning("query did not stop: %s", error.java_exception)
