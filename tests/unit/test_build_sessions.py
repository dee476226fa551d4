"""The writer of sessions: each row in its table, and a repeated batch changes nothing."""

from datetime import UTC, datetime

from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.schemas import SESSION_CHANGE
from afterclick.settings import Settings
from jobs.build_sessions import write_sessions

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_write_sessions_separates_unsessioned_events_and_ignores_a_repetition(
    spark: SparkSession, settings: Settings
) -> None:
    delta_tables.ensure_tables(spark, settings)
    session = ("s1", "ada", AT, AT, 3, 2, 1, 0, 0.0, None, None, None, None, None, False)
    late = (None, "bob", *[None] * 7, "e1", "view", AT, AT, AT, True)
    batch = spark.createDataFrame([session, late], SESSION_CHANGE)

    for _ in range(2):
        write_sessions(batch, 4, settings=settings)

    sessions = delta_tables.read_table(spark, settings, "sessions").collect()
    assert [(row.session_id, row.event_count) for row in sessions] == [("s1", 3)]
    late_events = delta_tables.read_table(spark, settings, "unsessioned_events").collect()
    assert [(row.event_id, row.subject_id, row.batch_id) for row in late_events] == [("e1", "bob", 4)]
