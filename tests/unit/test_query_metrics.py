"""One log line per micro-batch, each once, however often we look."""

import logging
from pathlib import Path
from typing import Any

import pytest

from afterclick.query_metrics import BatchWatcher, read_reports


def test_each_batch_with_rows_is_logged_once(spark: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "afterclick.query_metrics")
    folder = tmp_path / "in"
    folder.mkdir()
    lines = spark.readStream.schema("value string").option("maxFilesPerTrigger", 1).text(str(folder))
    writer = lines.writeStream.queryName("watched").foreachBatch(lambda batch, _: batch.count())
    query = writer.option("checkpointLocation", str(tmp_path / "checkpoint")).start()
    watcher = BatchWatcher(query)
    try:
        for number, rows in enumerate((1, 3)):
            (folder / f"{number}.txt").write_text("x\n" * rows, encoding="utf-8")
            query.processAllAvailable()
            watcher.log_finished()
            watcher.log_finished()
    finally:
        query.stop()

    reports = read_reports("\n".join(caplog.messages), "watched")

    assert [(report.batch_id, report.rows) for report in reports] == [(0, 1), (1, 3)]
    assert all(report.ms >= report.write_ms >= 0 for report in reports)
