"""What a queue and costs say of a cluster, from what they were fitted; no figure is hidden in the code."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from afterclick.benchmarks.batch_costs import began, fit_queue, fitted_line
from afterclick.benchmarks.batch_queue import BatchQueue
from afterclick.benchmarks.cluster_sizes import (
    GOAL_SECONDS,
    RATES,
    Costs,
    cluster_sizes,
    fast_path,
    spread_queue,
)
from afterclick.benchmarks.process_figures import trend
from afterclick.errors import LocalStackError
from afterclick.query_metrics import BatchReport

QUEUE = BatchQueue(0.1, 0.0005, np.array([0.9, 1.0, 1.1]), np.array([0.01]), np.array([-0.01]))
COSTS = Costs(
    spread_seconds=0.05,
    driver_seconds=2e-6,
    list_seconds=0.001,
    store_seconds=2e-5,
    per_event={"collector": 4e-4, "kafka": 1e-4, "bulk": 3e-4},
    session_seconds=1e-6,
    session_bytes=2_000,
    person_bytes=900,
    machine_cores=2,
)


def batches(count: int, *, pause_at: int | None = None) -> list[BatchReport]:
    """Return back-to-back batches of 100 ms and 0.5 ms an event, of 10 to 100 events; one may be 900 ms longer."""
    found, at = [], 1_000
    for number in range(count):
        rows = 10 + 10 * (number % 10)
        ms = 100 + rows // 2 + (900 if number == pause_at else 0)
        stamp = f"2026-11-27T00:00:{at // 1000:02d}.{at % 1000:03d}Z"
        found.append(BatchReport("update_recommendations", number, stamp, rows, ms, ms // 2))
        at += ms
    return found


def samples(reports: list[BatchReport]) -> list[dict[str, float]]:
    """Return a post a batch, seen 10 ms before its end."""
    return [
        {
            "posted_at": began(one) - 0.03,
            "acked_at": began(one) - 0.01,
            "generated_at": began(one) + 0.05,
            "seen_at": began(one) + one.ms / 1000 - 0.01,
        }
        for one in reports
    ]


@pytest.mark.parametrize("pause_at", [None, 30])
def test_fit_finds_the_parts_of_a_batch_also_beside_a_pause_of_the_machine(pause_at: int | None) -> None:
    reports = batches(60, pause_at=pause_at)

    queue = fit_queue(reports, samples(reports))

    assert queue.fixed == pytest.approx(0.1)
    assert queue.per_event == pytest.approx(0.0005)
    assert queue.before == pytest.approx(0.02)
    assert queue.after == pytest.approx(-0.01)
    assert queue.spread.max() == pytest.approx(1.0 if pause_at is None else 1.0 + 0.9 / (0.1 + 0.0005 * 10))


@pytest.mark.parametrize(("count", "of_them"), [(9, 9), (60, 9)])
def test_too_few_batches_or_samples_are_refused(count: int, of_them: int) -> None:
    reports = batches(count)

    with pytest.raises(LocalStackError, match="too few"):
        fit_queue(reports, samples(reports)[:of_them])


def test_a_line_through_one_place_has_no_slope() -> None:
    assert fitted_line(np.array([5.0, 5.0]), np.array([1.0, 3.0])) == (2.0, 0.0)


def test_twice_the_rate_takes_at_least_as_many_of_everything() -> None:
    sizes = cluster_sizes(QUEUE, COSTS, gap_seconds=1_800, trigger_seconds=30)

    found = [_flat(one) for one in sizes.values()]
    assert list(sizes) == [str(rate) for rate in RATES]
    assert all(less[name] <= more[name] for less, more in pairwise(found) for name in less)
    assert sizes["10000"]["cores"] == {"collector": 8, "kafka": 2, "bulk": 6}
    assert sizes["10000"]["redis_gb_a_day_of_people"] == pytest.approx(10_000 * 86_400 / 20 * 900 / 1e9, abs=0.1)
    assert sizes["10000"]["session_shards"] == 1
    assert sizes["1000000"]["session_shards"] == 8


def _flat(one: dict[str, Any]) -> dict[str, float]:
    fast = one["recommendations"]
    return {
        **one["cores"],
        "fast": fast["lanes"] * (fast["cores"] + fast["driver_cores"]),
        **{k: v for k, v in one.items() if k in ("partitions",)},
    }


def test_fast_path_holds_the_goal_and_a_core_less_in_all_does_not_suffice() -> None:
    found = fast_path(replace(QUEUE, per_event=1.0), COSTS, 10_000)  # nothing for a driver

    assert found
    assert found.p99_ms <= GOAL_SECONDS * 1000
    assert found.lanes * found.cores >= 10_000 * COSTS.list_seconds
    assert found.cores > 1


def test_an_event_s_way_through_the_driver_bounds_what_one_application_takes() -> None:
    slow = replace(COSTS, driver_seconds=0.0002)

    found = fast_path(QUEUE, slow, 10_000)

    assert found
    assert found.lanes > 10_000 * slow.driver_seconds
    assert spread_queue(QUEUE, slow, 256).capacity < 5_000


def test_lists_are_made_on_the_drivers_of_several_applications_when_executors_are_too_slow_at_any_size() -> None:
    far = replace(COSTS, spread_seconds=0.5)

    found = fast_path(QUEUE, far, 10_000)

    assert found
    assert (found.cores, found.p99_ms <= GOAL_SECONDS * 1000) == (0, True)
    assert found.lanes > 10_000 * QUEUE.per_event


def test_a_fixed_part_above_the_goal_is_not_mended_by_cores() -> None:
    assert fast_path(QUEUE.slowed(4), COSTS, 10_000) is None


@pytest.mark.parametrize(("slope", "is_flat"), [(0.0, True), (-1.0, True), (0.01, True), (1.0, False)])
def test_a_trend_is_flat_within_its_noise(slope: float, is_flat: bool) -> None:
    seconds = np.arange(0, 7_200, 60.0)
    values = 500 + slope * seconds / 60 + np.where(np.arange(len(seconds)) % 2, 3.0, -3.0)

    line = trend(seconds, values)

    assert line.per_hour == pytest.approx(60 * slope, abs=0.2)
    assert line.noise == pytest.approx(6, rel=0.05)
    assert line.is_flat is is_flat
