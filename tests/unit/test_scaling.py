"""Calibrated at one load of a simulated machine, the model predicts its other loads; and what is made of measured phases."""

from datetime import UTC, datetime

import httpx
import numpy as np
import pytest

from afterclick.benchmarks.batch_costs import began
from afterclick.benchmarks.batch_queue import BatchQueue, simulate, slowdown
from afterclick.benchmarks.scaling import REACH, Beside, Phases, calibrated, compare, event_costs, p99_interval, slowing
from afterclick.local.freshness import FreshnessProbe
from afterclick.query_metrics import BatchReport

BEGUN = 1_795_780_800.0
TRUE = BatchQueue(
    0.1, 0.0005, np.random.default_rng(1).lognormal(0, 0.2, 500), np.full(50, 0.012), np.linspace(-0.02, 0.01, 50)
)


def measured(rate: float, *, seconds: float = 120, busy: float = 0.0) -> tuple[Phases, list[BatchReport]]:
    """Return what the bench would have seen of a machine that is just `TRUE`, others keeping `busy` cores of two."""
    passage = simulate(TRUE.slowed(slowdown(busy, 2)), rate, seconds=seconds, seed=7)
    phase = Phases(rate, FreshnessProbe(httpx.AsyncClient()), [(BEGUN, BEGUN + seconds)], [{"collector": busy}])
    reports = [
        BatchReport("update_recommendations", n, _iso(BEGUN + at), int(rows), round(length * 1000), 1)
        for n, (at, rows, length) in enumerate(zip(passage.starts, passage.events, passage.lengths, strict=True))
    ]
    batch = np.repeat(passage.starts, (passage.events / 10).astype(int))
    columns = {
        "posted_at": passage.posted,
        "acked_at": passage.arrived,
        "generated_at": batch + 0.02,
        "seen_at": passage.seen,
    }
    times = zip(*[(BEGUN + column).tolist() for column in columns.values()], strict=True)
    samples = [dict(zip(columns, of_one, strict=True)) for of_one in times]
    phase.probe.samples = [{**one, "total": one["seen_at"] - one["posted_at"]} for one in samples]
    return phase, reports


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("rate", [100, 250, 750, 1_000])
def test_one_load_predicts_the_others_of_a_machine_that_is_such_a_queue(rate: float) -> None:
    a_core_event = 0.0004
    known, reports = measured(500, busy=500 * a_core_event)
    for at in (200, 800):
        _, more = measured(at, seconds=60, busy=at * a_core_event)
        known.uneven.append((BEGUN + 1_000 * at, BEGUN + 1_000 * at + 60, at))
        reports += [one._replace(began_at=_iso(began(one) + 1_000 * at)) for one in more]
    other, others = measured(rate, busy=rate * a_core_event)
    beside = Beside(0.0, a_core_event)
    queue = calibrated(known, reports, beside, 2)

    found = compare(other, queue, slowing(beside, rate, 500, 2), others)

    assert queue.per_event == pytest.approx(0.0005 * slowdown(0.2, 2), rel=0.25)
    assert abs(found["error"]) <= REACH
    assert found["predicted"]["p50"] == pytest.approx(found["measured"]["p50"], rel=REACH)


def test_slowing_is_one_at_the_calibrated_load_and_without_others() -> None:
    assert slowing(Beside(0.2, 0.001), 500, 500, 2) == 1
    assert slowing(Beside(0.2, 0.0), 1_000, 500, 2) == 1
    assert slowing(Beside(0.0, 0.001), 1_000, 500, 2) == pytest.approx((1 - 0.25**2) / (1 - 0.5**2))
    assert slowing(Beside(0.2, 0.0005), 1_000, 500, 2) == pytest.approx((1 - 0.225**2) / (1 - 0.35**2))


def test_batches_are_those_of_the_load_s_turns() -> None:
    phase, reports = measured(500, seconds=10)
    later = [BatchReport("update_recommendations", 99, _iso(BEGUN + 11), 10, 100, 1)]

    assert phase.batches(reports[:60] + later) == reports[:60]


def test_an_event_s_cost_is_the_slope_not_what_a_service_takes_anyway() -> None:
    phases = [
        Phases(rate, FreshnessProbe(httpx.AsyncClient()), [], [{"collector": 0.1 + 0.0002 * rate, "bulk": 0.3}] * 2)
        for rate in (100, 500, 1_000)
    ]

    assert event_costs(phases) == {"collector": pytest.approx(0.0002), "kafka": 0.0}


def test_a_p99_of_few_samples_has_a_wide_range_around_it() -> None:
    took = np.random.default_rng(1).exponential(0.1, 2_000)

    few, many = p99_interval(took[:100]), p99_interval(took)

    assert few[0] < float(np.percentile(took[:100], 99)) * 1000 <= few[1]
    assert few[1] - few[0] > many[1] - many[0]
