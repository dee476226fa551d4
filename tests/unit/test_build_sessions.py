"""The writer of sessions: each row in its table, and a repeated batch changes nothing."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from afterclick.connectors import delta_tables
from afterclick.schemas import SESSION_CHANGE
from afterclick.settings import Settings
from jobs.build_sessions import write_sessions

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
BATCH = 4


def make_batch(spark: SparkSession) -> DataFrame:
    """One closed session and one event too late for its own."""
    session = ("s1", "ada", AT, AT, 3, 2, 1, 0, 0.0, None, None, None, None, None, False)
    late = (None, "bob", *[None] * 7, "e1", "view", AT, AT, AT, True)
    return spark.createDataFrame([session, late], SESSION_CHANGE)


def test_write_sessions_separates_unsessioned_events_and_ignores_a_repetition(
    spark: SparkSession, settings: Settings
) -> None:
    delta_tables.ensure_tables(spark, settings)
    batch = make_batch(spark)

    for _ in range(2):
        write_sessions(batch, BATCH, settings=settings)

    sessions = delta_tables.read_table(spark, settings, "sessions").collect()
    assert [(row.session_id, row.event_count) for row in sessions] == [("s1", 3)]
    late_events = delta_tables.read_table(spark, settings, "unsessioned_events").collect()
    assert [(row.event_id, row.subject_id, row.batch_id) for row in late_events] == [("e1", "bob", 4)]


class Stopped(BaseException):
    """Stands in for SIGKILL: nothing below catches it."""


@pytest.mark.parametrize("sinks", range(2))
def test_write_sessions_ends_as_undisturbed_when_stopped_after_some_sinks_and_replayed(
    spark: SparkSession, settings: Settings, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, sinks: int
) -> None:
    folders = {"tables": str(tmp_path / "u" / "tables"), "checkpoints": str(tmp_path / "u" / "checkpoints")}
    undisturbed = settings.model_copy(update={"storage": settings.storage.model_copy(update=folders)})
    batch = make_batch(spark)
    for each in (settings, undisturbed):
        delta_tables.ensure_tables(spark, each)
    write_sessions(batch, BATCH, settings=undisturbed)
    append_once = delta_tables.append_once
    done: list[str] = []

    def append_or_stop(rows: Any, *args: Any, **kwargs: Any) -> None:
        if len(done) == sinks:
            raise Stopped
        append_once(rows, *args, **kwargs)
        done.append(kwargs["table"])

    with monkeypatch.context() as patch, contextlib.suppress(Stopped):
        patch.setattr(delta_tables, "append_once", append_or_stop)
        write_sessions(batch, BATCH, settings=settings)
    write_sessions(batch, BATCH, settings=settings)

    assert len(done) == sinks
    for table in ("sessions", "unsessioned_events"):
        found, wanted = (delta_tables.read_table(spark, each, table).collect() for each in (settings, undisturbed))
        assert sorted(map(str, found)) == sorted(map(str, wanted))
