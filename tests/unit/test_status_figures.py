"""The status page's figures from snapshots, as Prometheus would compute them."""

import numpy as np
import pytest
from prometheus_client import generate_latest

from afterclick.job_metrics import JobMetrics
from afterclick.serving.scraping import Snapshot, read_samples
from afterclick.serving.status_chart import draw
from afterclick.serving.status_figures import quantile, summarise
from afterclick.serving.status_page import show_seconds

NAME = "afterclick_list_freshness_seconds"


def snapshot(at: float, metrics: JobMetrics) -> Snapshot:
    return Snapshot(at, read_samples(generate_latest(metrics.registry).decode()))


def test_quantile_is_linear_inside_a_bucket() -> None:
    metrics = JobMetrics()
    metrics.freshness.observe(np.array([0.16, 0.17, 0.18, 0.19]))  # all between 0.15 and 0.2

    assert quantile(0.5, None, snapshot(1, metrics), NAME) == pytest.approx(0.175)
    assert quantile(1.0, None, snapshot(1, metrics), NAME) == pytest.approx(0.2)


def test_quantile_above_the_highest_bound_is_that_bound() -> None:
    metrics = JobMetrics()
    metrics.freshness.observe(np.array([4_000.0]))

    assert quantile(0.5, None, snapshot(1, metrics), NAME) == 300.0


def test_nothing_observed_has_no_quantile() -> None:
    assert quantile(0.5, None, snapshot(1, JobMetrics()), NAME) is None


def test_figures_of_the_window_leave_out_what_was_before() -> None:
    metrics = JobMetrics()
    metrics.count_lists(np.zeros(100, np.int64), {"view": 100}, {"written": 9}, now_ms=60_000)
    history = [snapshot(100, metrics)]
    metrics.count_lists(np.array([9_500, 9_500, 9_500, 7_000]), {"view": 3, "cart": 1}, {"written": 2}, now_ms=10_000)
    history.append(snapshot(110, metrics))

    figures = summarise(history)

    assert (figures.events_seen, figures.late_share) == (4, 0.25)
    assert figures.per_second == {"cart": 0.1, "view": 0.3}
    assert figures.p50 is not None
    assert 0.4 <= figures.p50 <= 0.5
    assert [point.p99 is not None for point in figures.freshness] == [True]


def test_restarted_job_counts_from_nothing() -> None:
    before, after = JobMetrics(), JobMetrics()
    before.count_lists(np.zeros(100, np.int64), {"view": 100}, {}, now_ms=60_000)
    after.count_lists(np.array([0]), {"view": 1}, {}, now_ms=100)

    figures = summarise([snapshot(100, before), snapshot(105, after)])

    assert (figures.events_seen, figures.late_share) == (1, 0.0)
    assert figures.per_second == {"view": 0.0}


def test_a_query_shows_state_lag_and_batches() -> None:
    metrics = JobMetrics()
    metrics.active.labels("ingest_events").set(0)
    metrics.lag.labels("ingest_events").set(12)
    metrics.batch_seconds.labels("ingest_events").observe(0.06)
    metrics.last_batch.labels("ingest_events").set(90)

    (query,) = summarise([snapshot(100, metrics)]).queries

    assert (query.name, query.is_active, query.lag, query.idle_seconds) == ("ingest_events", False, 12, 10)
    assert query.batch_p50 == pytest.approx(0.075)


def test_first_snapshot_alone_gives_figures_and_an_empty_chart() -> None:
    figures = summarise([snapshot(1, JobMetrics())])

    assert (figures.p50, figures.late_share, figures.freshness) == (None, None, ())
    assert draw(figures.freshness, 1.0).p50 == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0.1764, "176 ms"), (2.0, "2.0 s"), (150, "2.5 min"), (259_200, "3.0 d")]
)
def test_times_are_written_with_the_unit_that_reads_best(seconds: float | None, text: str) -> None:
    assert show_seconds(seconds) == text
