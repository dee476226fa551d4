"""What a job tells Prometheus: one registry a process, base units, no ids in labels.

`metrics_export` serves or writes it; docs/decisions/0045-job-metrics.md says why it hangs at the process.
"""

import threading
from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

FRESHNESS_BOUNDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds; 1 is the promise that conf/monitoring/rules.yaml watches."""
_BATCH_BOUNDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class ArrayHistogram(Collector):
    """A histogram that takes a whole array at once: a batch must not cost a Python call per event."""

    def __init__(self, name: str, documentation: str, bounds: tuple[float, ...], registry: CollectorRegistry) -> None:
        self._name, self._documentation = name, documentation
        self._bounds = np.array(bounds)
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self._sum = 0.0
        self._lock = threading.Lock()
        registry.register(self)

    def observe(self, values: npt.NDArray[np.floating]) -> None:
        """Count every value; a negative one (two clocks) counts as 0."""
        values = np.maximum(values, 0.0)
        places = np.bincount(np.searchsorted(self._bounds, values), minlength=len(self._counts))
        with self._lock:
            self._counts += places
            self._sum += float(values.sum())

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return what Prometheus reads."""
        with self._lock:
            cumulative, total = self._counts.cumsum(), self._sum
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = [(name, float(count)) for name, count in zip(names, cumulative, strict=True)]
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=total)


class JobMetrics:
    """Every metric of the streams."""

    def __init__(self) -> None:
        self.run_failed = False
        """Whether this run has failed although no exception says so."""
        registry = self.registry = CollectorRegistry()
        self.batch_seconds = Histogram(
            "afterclick_batch_duration_seconds",
            "Time of a micro-batch from its trigger to its commit.",
            ["query"],
            buckets=_BATCH_BOUNDS,
            registry=registry,
        )
        self.write_seconds = Counter(
            "afterclick_batch_write_seconds", "Time spent in the sinks of a query.", ["query"], registry=registry
        )
        self.batch_rows = Counter("afterclick_batch_rows", "Messages read by a query.", ["query"], registry=registry)
        self.active = Gauge(
            "afterclick_query_active", "1 while the query runs, 0 after it ended.", ["query"], registry=registry
        )
        self.lag = Gauge(
            "afterclick_query_lag_events", "Messages on Kafka the query has not read.", ["query"], registry=registry
        )
        self.last_batch = Gauge(
            "afterclick_query_last_batch_timestamp_seconds",
            "When the query's last batch with messages began.",
            ["query"],
            registry=registry,
        )
        self.watermark = Gauge(
            "afterclick_query_watermark_timestamp_seconds", "The query's watermark.", ["query"], registry=registry
        )
        self.freshness = ArrayHistogram(
            "afterclick_list_freshness_seconds",
            "Time from the receipt of an event to a list in Redis that holds it.",
            FRESHNESS_BOUNDS,
            registry,
        )
        self.interactions = Counter(
            "afterclick_list_interactions", "Interactions folded into lists.", ["event_type"], registry=registry
        )
        self.lists = Counter(
            "afterclick_list_updates", "Lists by what became of the write.", ["outcome"], registry=registry
        )
        self.fates = Counter("afterclick_ingest_events", "Messages by fate.", ["fate"], registry=registry)
        self.imbalance = Gauge(
            "afterclick_ledger_imbalance_events", "Messages of the last batch without a fate.", registry=registry
        )
        self.sessions = Counter("afterclick_sessions_closed", "Sessions closed.", registry=registry)

    def count_lists(
        self, received_ms: npt.NDArray[np.int64], types: Mapping[str, int], outcomes: Mapping[str, int], *, now_ms: int
    ) -> None:
        """Note a batch of `update_recommendations` whose lists are in Redis at `now_ms`."""
        self.freshness.observe((now_ms - received_ms) / 1000)
        for event_type, count in types.items():
            self.interactions.labels(event_type).inc(count)
        for outcome, count in outcomes.items():
            self.lists.labels(outcome).inc(count)

    def count_fates(self, counts: Mapping[str, int], fates: Iterable[str]) -> None:
        """Note a batch of `ingest_events`: `consumed` and the number of each fate."""
        kinds = tuple(fates)
        for fate in kinds:
            self.fates.labels(fate).inc(counts[fate])
        self.imbalance.set(counts["consumed"] - sum(counts[fate] for fate in kinds))


class RunMetrics:
    """How a job's last run ended; see `metrics_export`.

    The label is not ``job``: Prometheus sets that one itself, to the name of the scrape.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.success = Gauge(
            "afterclick_job_last_success_timestamp_seconds",
            "When the job last ended well.",
            ["batch_job"],
            registry=registry,
        )
        self.failed = Gauge(
            "afterclick_job_failed", "1 when the job's last run failed, else 0.", ["batch_job"], registry=registry
        )
        self.seconds = Gauge(
            "afterclick_job_duration_seconds", "Time of the job's last run.", ["batch_job"], registry=registry
        )


@lru_cache(maxsize=1)
def job_metrics() -> JobMetrics:
    """Return this process's metrics; batches are written by threads of its own."""
    return JobMetrics()
