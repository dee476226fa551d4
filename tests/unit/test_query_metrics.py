"""One log line per micro-batch, each once, however often we look."""

import logging
from pathlib import Path
from typing import Any

import pytest

from afterclick.job_metrics import JobMetrics
from afterclick.query_metrics import BatchWatcher, lag_events, read_reports


def test_each_batch_with_rows_is_logged_once(spark: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "afterclick.query_metrics")
    folder = tmp_path / "in"
    folder.mkdir()
    lines = spark.readStream.schema("value string").option("maxFilesPerTrigger", 1).text(str(folder))
    writer = lines.writeStream.queryName("watched").foreachBatch(lambda batch, _: batch.count())
    query = writer.option("checkpointLocation", str(tmp_path / "checkpoint")).start()
    metrics = JobMetrics()
    watcher = BatchWatcher(query, metrics)
    try:
        for number, rows in enumerate((1, 3)):
            (tmp_path / "next.txt").write_text("x\n" * rows, encoding="utf-8")
            (tmp_path / "next.txt").rename(folder / f"{number}.txt")  # the query must not list a file still empty
            query.processAllAvailable()
            watcher.log_finished()
            watcher.log_finished()
        assert metrics.registry.get_sample_value("afterclick_query_active", {"query": "watched"}) == 1
    finally:
        query.stop()
        watcher.log_finished()

    reports = read_reports("\n".join(caplog.messages), "watched")

    assert [(report.batch_id, report.rows) for report in reports] == [(0, 1), (1, 3)]
    value = metrics.registry.get_sample_value
    assert value("afterclick_batch_rows_total", {"query": "watched"}) == 4
    assert value("afterclick_batch_duration_seconds_count", {"query": "watched"}) == 2
    total = value("afterclick_batch_duration_seconds_sum", {"query": "watched"})
    assert total == pytest.approx(sum(report.ms for report in reports) / 1000)
    assert value("afterclick_query_active", {"query": "watched"}) == 0
    parts = [report.write_ms + report.offsets_ms + report.planning_ms + report.log_ms for report in reports]
    assert all(report.ms >= told >= report.write_ms >= 0 for report, told in zip(reports, parts, strict=True))
    assert sum(report.log_ms for report in reports) > 0


@pytest.mark.parametrize(
    ("latest", "end", "lag"),
    [
        ('{"events":{"0":10,"1":7}}', '{"events":{"0":4,"1":7}}', 6),
        ('{"events":{"0":10,"1":7}}', '{"events":{"0":10}}', 7),
        ('{"events":{"0":3}}', '{"events":{"0":9}}', 0),
        ('{"logOffset":5}', '{"logOffset":1}', 0),
        ("null", "null", 0),
        ("None", "None", 0),
    ],
    ids=["behind_one_partition", "new_partition", "topic_begun_anew", "files", "nothing_yet", "no_offsets"],
)
def test_lag_is_counted_by_partition(latest: str, end: str, lag: int) -> None:
    assert lag_events(latest, end) == lag
