"""Snapshots of metrics -> the figures of the status page. Pure; as Prometheus would compute them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from afterclick.serving.scraping import Snapshot

PROMISE_SECONDS = 1.0
"""Also the bound in conf/monitoring/rules.yaml."""
_FRESHNESS = "afterclick_list_freshness_seconds"
_WINDOW_SECONDS = 30.0


@dataclass(frozen=True)
class Point:
    """Freshness in seconds around one time; None while no event came."""

    at: float
    p50: float | None
    p99: float | None


@dataclass(frozen=True)
class QueryFigures:
    """How one stream is doing; times in seconds."""

    name: str
    is_active: bool
    lag: int
    rows_per_second: float
    batch_p50: float | None
    batch_p99: float | None
    idle_seconds: float | None


@dataclass(frozen=True)
class Figures:
    """Everything on the page; rates are of the last half minute, counts since the parts started."""

    at: float
    down: tuple[str, ...]
    freshness: tuple[Point, ...]
    p50: float | None
    p99: float | None
    late_share: float | None
    events_seen: int
    per_second: dict[str, float]
    collector_fates: dict[str, int]
    ingest_fates: dict[str, int]
    imbalance: int
    queries: tuple[QueryFigures, ...]
    sessions_closed: int
    served: dict[str, int]
    store_errors: int


def summarise(history: Sequence[Snapshot]) -> Figures:
    """Return the figures of at least one snapshot, oldest first."""
    first, last = history[0], history[-1]
    before = _before(history, last.at - _WINDOW_SECONDS)
    seen = last.total(f"{_FRESHNESS}_count") - _base(first, last, f"{_FRESHNESS}_count")
    late = seen - (last.total(f"{_FRESHNESS}_bucket", le=str(PROMISE_SECONDS)) - _base(
        first, last, f"{_FRESHNESS}_bucket", le=str(PROMISE_SECONDS)
    ))  # fmt: skip
    whole = None if len(history) == 1 else first
    return Figures(
        at=last.at,
        down=last.down,
        freshness=tuple(_curve(history)),
        p50=quantile(0.5, whole, last, _FRESHNESS),
        p99=quantile(0.99, whole, last, _FRESHNESS),
        late_share=late / seen if seen else None,
        events_seen=int(seen),
        per_second=_rates(before, last, "afterclick_list_interactions_total", "event_type"),
        collector_fates=_counts(last, "afterclick_collector_events_total", "fate"),
        ingest_fates=_counts(last, "afterclick_ingest_events_total", "fate"),
        imbalance=int(last.total("afterclick_ledger_imbalance_events")),
        queries=tuple(
            _query(name, whole, before, last) for name in sorted(last.by("afterclick_query_active", "query"))
        ),
        sessions_closed=int(last.total("afterclick_sessions_closed_total")),
        served=_counts(last, "afterclick_serving_lists_total", "source"),
        store_errors=int(last.total("afterclick_serving_store_errors_total")),
    )


def quantile(q: float, before: Snapshot | None, now: Snapshot, name: str, **labels: str) -> float | None:
    """Return a histogram's quantile of what came between two snapshots; None when nothing came.

    Notes
    -----
    Linear inside a bucket, the highest finite bound above it: Prometheus' ``histogram_quantile``.
    """
    counts = now.by(f"{name}_bucket", "le", **labels)
    old = before.by(f"{name}_bucket", "le", **labels) if before else {}
    if any(old.get(bound, 0) > count for bound, count in counts.items()):
        old = {}  # the job began anew
    buckets = sorted((float(bound), count - old.get(bound, 0)) for bound, count in counts.items())
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = q * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank and count > below:
            return lower if math.isinf(bound) else lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = (lower if math.isinf(bound) else bound), count
    return lower


def _curve(history: Sequence[Snapshot]) -> list[Point]:
    return [
        Point(now.at, quantile(0.5, old, now, _FRESHNESS), quantile(0.99, old, now, _FRESHNESS))
        for old, now in pairwise(history)
    ]


def _query(name: str, whole: Snapshot | None, before: Snapshot, last: Snapshot) -> QueryFigures:
    batches = "afterclick_batch_duration_seconds"
    began = last.total("afterclick_query_last_batch_timestamp_seconds", query=name)
    return QueryFigures(
        name=name,
        is_active=last.total("afterclick_query_active", query=name) > 0,
        lag=int(last.total("afterclick_query_lag_events", query=name)),
        rows_per_second=_rates(before, last, "afterclick_batch_rows_total", "query").get(name, 0.0),
        batch_p50=quantile(0.5, whole, last, batches, query=name),
        batch_p99=quantile(0.99, whole, last, batches, query=name),
        idle_seconds=last.at - began if began else None,
    )


def _rates(before: Snapshot, last: Snapshot, name: str, label: str) -> dict[str, float]:
    seconds = last.at - before.at
    old = before.by(name, label)
    return {
        value: max(0.0, count - old.get(value, 0.0)) / seconds if seconds else 0.0
        for value, count in sorted(last.by(name, label).items())
    }


def _counts(snapshot: Snapshot, name: str, label: str) -> dict[str, int]:
    return {value: int(count) for value, count in sorted(snapshot.by(name, label).items())}


def _before(history: Sequence[Snapshot], at: float) -> Snapshot:
    """Return the newest snapshot that is at least as old as `at`, else the oldest."""
    return next((snapshot for snapshot in reversed(history) if snapshot.at <= at), history[0])


def _base(first: Snapshot, last: Snapshot, name: str, **labels: str) -> float:
    """Return a counter's value to count from: 0 when there is one snapshot or the job began anew."""
    base = first.total(name, **labels) if first is not last else 0.0
    return base if base <= last.total(name, **labels) else 0.0
