"""A query that hangs in a batch is ended; one that waits for data, or goes on slowly, is not."""

import faulthandler
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.job_runner import run_stream
from afterclick.settings import Settings
from afterclick.watchdog import Watchdog


def looks(*seen: tuple[float, int, bool]) -> list[bool]:
    """Return what the watchdog says at each look: time, batch, busy."""
    watchdog = Watchdog(10.0)
    return [watchdog.has_stood_still("q", batch, is_busy=busy, now=now) for now, batch, busy in seen]


def test_a_batch_of_exactly_the_limit_is_not_stalled_and_one_second_later_it_is() -> None:
    assert looks((0, 1, True), (10, 1, True), (11, 1, True)) == [False, False, True]


def test_progress_begins_the_time_anew() -> None:
    assert looks((0, 1, True), (9, 2, True), (19, 2, True), (20, 2, True)) == [False, False, False, True]


def test_waiting_for_data_is_not_standing_still() -> None:
    assert looks((0, 1, False), (100, 1, False), (200, 1, True), (209, 1, True)) == [False] * 4


@pytest.fixture
def no_exit_timer() -> Iterator[None]:
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.usefixtures("no_exit_timer")
def test_run_stream_ends_a_query_that_hangs_in_its_batch(
    spark: SparkSession, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spark.createDataFrame([(1,)], "a int").write.parquet(str(tmp_path / "source"))
    rows = spark.readStream.schema("a int").parquet(str(tmp_path / "source"))
    query = delta_tables.start_stream(rows, "hangs", lambda *_: time.sleep(40), settings, trigger_ms=0, pool="bulk")
    begun = time.monotonic()

    code = run_stream(query, stalled_after_seconds=2)

    assert code == 1
    assert not query.isActive
    assert time.monotonic() - begun < 38
    assert "query stalled name=hangs" in caplog.text
