"""Accepted events -> recent activity of people, items and categories; run it every few minutes.

Reads       tables ``events``, ``late_events``        schemas.STORED_EVENT, the last 24 h
            table ``items``                           schemas_dimensions.ITEM, for categories
Writes      table ``activity``                        schemas_activity.ACTIVITY, replaced as a whole
            Redis                                     connectors.activity_store; the served version's popular list
Repeating   counts anew; nothing adds up
"""

import logging
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession

from afterclick.activity import count_activity
from afterclick.connectors import delta_tables, redis_store
from afterclick.connectors.accepted_events import read_accepted
from afterclick.connectors.activity_store import ActivityStore, Counts
from afterclick.job_runner import job_context
from afterclick.popular_list import popular_list, recent_activity
from afterclick.served_model import read_recommender
from afterclick.settings import Settings

_TTL_SECONDS = 3_600
logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Count once."""
    with job_context("aggregate_activity", argv) as (spark, settings):
        delta_tables.ensure_tables(spark, settings)
        aggregate(spark, settings, now=datetime.now(UTC))
    return 0


def aggregate(spark: SparkSession, settings: Settings, *, now: datetime) -> int:
    """Count as of `now`, store in Delta, then in Redis; return the number of rows."""
    events, items = read_accepted(spark, settings), delta_tables.read_table(spark, settings, "items")
    path = delta_tables.table_path(settings, "activity")
    with delta_tables.table_lock(path):
        count_activity(events, items, now=now).write.format("delta").mode("overwrite").save(path)
    # To the driver: one row per active person, item, category and event type of a day.
    rows = delta_tables.read_table(spark, settings, "activity").toArrow().to_pylist()
    found: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        counts = {name: row[name] for name in ("events_30m", "events_2h", "events_24h", "events_decayed")}
        found[row["kind"]][row["name"]][row["event_type"]] = counts
    store = ActivityStore(settings.redis)
    for kind, names in found.items():
        store.write(kind, names, ttl_seconds=_TTL_SECONDS)
    refresh_popular(settings, found["item"], now=now)
    logger.info("activity counted rows=%d", len(rows))
    return len(rows)


def refresh_popular(settings: Settings, items: Mapping[str, Counts], *, now: datetime) -> None:
    """Write the list for people without one anew, with what happened to items of late; nothing before the first model."""
    store = redis_store.connect(settings.redis)
    version = store.served_version()
    if version is not None:
        model, size = read_recommender(settings, version).model, settings.recommendations.list_size
        recent = recent_activity(model, items)
        store.write_popular(popular_list(model, size, now_ms=int(now.timestamp() * 1000), recent=recent))


if __name__ == "__main__":
    sys.exit(main())
