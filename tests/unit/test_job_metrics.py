"""Figures of streams as Prometheus reads them."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from afterclick.job_metrics import FRESHNESS_BOUNDS, ArrayHistogram, JobMetrics, job_metrics


def test_array_histogram_counts_as_the_clients_own_does() -> None:
    values = np.array([0.0, 0.05, 0.0500001, 0.3, 1.0, 1.0001, 300.0, 301.0, -2.0])
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    array = ArrayHistogram("waited_seconds", "Waited.", FRESHNESS_BOUNDS, ours)
    single = Histogram("waited_seconds", "Waited.", buckets=FRESHNESS_BOUNDS, registry=theirs)

    array.observe(values[:4])
    array.observe(values[4:])
    for value in values:
        single.observe(max(0.0, value))

    assert _samples(ours) == pytest.approx({k: v for k, v in _samples(theirs).items() if "created" not in k[0]})


def test_a_batch_of_lists_is_counted_by_event_and_by_list() -> None:
    metrics = JobMetrics()

    received_ms = np.array([9_500, 9_900, 7_000])
    metrics.count_lists(received_ms, {"view": 2, "cart": 1}, {"written": 2, "fenced": 0}, now_ms=10_000)

    value = metrics.registry.get_sample_value
    assert value("afterclick_list_freshness_seconds_bucket", {"le": "1.0"}) == 2
    assert value("afterclick_list_freshness_seconds_count") == 3
    assert value("afterclick_list_interactions_total", {"event_type": "view"}) == 2
    assert value("afterclick_list_updates_total", {"outcome": "written"}) == 2


@pytest.mark.parametrize(("events", "imbalance"), [(7, 0), (6, 1)])
def test_a_message_without_a_fate_shows(events: int, imbalance: int) -> None:
    metrics = JobMetrics()

    metrics.count_fates({"consumed": 10, "events": events, "quarantine": 3}, ["events", "quarantine"])

    assert metrics.registry.get_sample_value("afterclick_ledger_imbalance_events") == imbalance
    assert metrics.registry.get_sample_value("afterclick_ingest_events_total", {"fate": "quarantine"}) == 3


def test_a_process_has_one_set_of_metrics() -> None:
    assert job_metrics() is job_metrics()


def test_no_label_can_hold_an_id() -> None:
    assert _label_names(JobMetrics().registry) <= {"query", "event_type", "outcome", "fate", "job"}


def _label_names(registry: CollectorRegistry) -> set[str]:
    metrics = [metric for metric in registry._collector_to_names if not isinstance(metric, ArrayHistogram)]  # noqa: SLF001
    return {name for metric in metrics for name in metric._labelnames}  # type: ignore[attr-defined]  # noqa: SLF001


def _samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, s.labels.get("le", "")): s.value for family in families for s in family.samples}
