"""Freshness figures: percentiles, stages from samples and the streams' own log lines."""

import pytest

from afterclick.benchmarks.freshness import batch_parts, stage_figures
from afterclick.local.demo_report import stream_counts
from afterclick.local.freshness import percentiles_ms
from afterclick.query_metrics import BatchReport, read_reports

LOG = """
2026 INFO x batch done query=update_recommendations batch_id=3 began_at=2026-11-24T12:00:00.100Z rows=9 ms=120 write_ms=80
2026 INFO x batch done query=ingest_events batch_id=1 began_at=2026-11-24T12:00:00.000Z rows=5 ms=900 write_ms=800
2026 INFO x something else
"""


def test_read_reports_takes_one_query_s_lines() -> None:
    assert read_reports(LOG, "update_recommendations") == [
        BatchReport("update_recommendations", 3, "2026-11-24T12:00:00.100Z", 9, 120, 80)
    ]


def test_stage_figures_split_the_total_completely() -> None:
    base = 1_795_521_600.0  # 2026-11-24T12:00:00Z
    sample = {
        "posted_at": base,
        "acked_at": base + 0.02,
        "generated_at": base + 0.18,
        "seen_at": base + 0.2,
        "total": 0.2,
    }

    stages = stage_figures([sample], read_reports(LOG, "update_recommendations"))

    assert {name: figures["p50"] for name, figures in stages.items()} == pytest.approx(
        {"collector": 20.0, "broker_wait": 80.0, "batch": 80.0, "redis": 20.0}, abs=0.2
    )
    assert sum(figures["share"] for figures in stages.values()) == pytest.approx(1.0, abs=0.01)


def test_stream_counts_takes_a_repeated_batch_once() -> None:
    log = (
        "INFO sessions built closed=3 batch_id=1\nINFO sessions built closed=4 late=1 open=2 batch_id=2\n"
        "INFO sessions built closed=4 late=1 open=2 batch_id=2\nINFO sessions built open=9 batch_id=3\n"
        "INFO events stored events=9 late_events=0 quarantine=2 no_consent=0 duplicates=1 batch_id=0\n"
    )

    assert stream_counts(log) == {"sessions_closed": 7, "events_rejected": 2}


def test_percentiles_ms_of_nothing_is_empty() -> None:
    assert percentiles_ms([]) == {}
    assert percentiles_ms([0.1, 0.2, 0.3])["p50"] == 200.0


def test_batch_parts_split_a_batch_completely_and_an_older_log_tells_only_the_writer() -> None:
    line = LOG.splitlines()[1].replace("write_ms=80", "write_ms=80 offsets_ms=5 planning_ms=10 log_ms=12")

    parts = batch_parts(read_reports(line, "update_recommendations"))
    older = batch_parts(read_reports(LOG, "update_recommendations"))

    assert {name: part["p50"] for name, part in parts.items()} == {
        "source": 5, "planning": 10, "write": 80, "checkpoint": 12, "rest": 13,
    }  # fmt: skip
    assert sum(part["share"] for part in parts.values()) == pytest.approx(1, abs=0.01)
    assert older["rest"]["p50"] == 40
    assert batch_parts([]) == {}
