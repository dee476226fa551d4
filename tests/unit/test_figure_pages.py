"""Pages of figures: only what stands between the marks changes, and each figure is where its name says."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afterclick.benchmarks.batch_queue import BatchQueue
from afterclick.benchmarks.cluster_sizes import Costs, cluster_sizes
from afterclick.benchmarks.figure_pages import CURVES, growth_section, write_clusters
from afterclick.benchmarks.figure_rows import row
from afterclick.benchmarks.growth import fitted

QUEUE = BatchQueue(0.1, 0.0005, np.ones(1), np.zeros(1), np.zeros(1))
COSTS = Costs(0.05, 2e-6, 0.001, 2e-5, {"collector": 4e-4, "kafka": 1e-4, "bulk": 3e-4}, 1e-6, 2_000, 900, 2)
CURVE = fitted([100, 1_000, 10_000], [0.001, 0.002, 0.004])


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- last figures -->\nold\n<!-- end -->\nafter\n", "utf-8")
    return path


def scaling_figures(error: float) -> dict[str, Any]:
    load = {
        "measured": {"p50": 100.0, "p95": 180.0, "p99": 200.0},
        "predicted": {"p50": 110.0, "p95": 190.0, "p99": 250.0},
        "p99_from_to": [190.0, 230.0],
        "error": error,
    }
    queue = {"fixed_ms": 100.0, "event_ms": 0.5}
    return {
        "machine": "m",
        "took_s": 9,
        "calibrated_at": 500,
        "measured": abs(error),
        "baseline": 0.25,
        "loads": {"500": load, "1000": load},
        "queue": queue,
        "costs": asdict(COSTS),
        "clusters": cluster_sizes(QUEUE, COSTS, gap_seconds=1_800, trigger_seconds=30),
    }


@pytest.mark.parametrize(("error", "verdict"), [(0.25, "to reach: 25%."), (-0.3, "to reach: 25%, **missed**.")])
def test_scaling_page_tells_loads_costs_and_clusters(page: Path, error: float, verdict: str) -> None:
    write_clusters(page, scaling_figures(error), "2026-11-27")

    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert f"| 1,000 | 100 / 110 | 200 (190–230) / 250 | {error:+.0%} |" in text
    assert f"| 500 | 100 / 110 | 200 (190–230) / 250 | {error:+.0%} (calibrated) |" in text
    assert verdict in text
    assert "| | 10,000 events/s | 100,000 events/s | 1,000,000 events/s |" in text
    assert "| collector processes | 8 | 80 | 800 |" in text


def test_curves_are_drawn_beside_the_page_and_the_same_figures_give_the_same_file(tmp_path: Path) -> None:
    lines = growth_section({"people_stored": CURVE}, tmp_path)
    first = (tmp_path / CURVES).read_bytes()

    again = growth_section({"people_stored": CURVE}, tmp_path)

    assert lines == again
    assert (tmp_path / CURVES).read_bytes() == first
    assert first.startswith(b"<?xml")
    assert "| people stored | 100: 1, 1,000: 2, 10,000: 4 | 0.301 | 2 |" in lines


def test_without_curves_there_is_nothing_to_draw(tmp_path: Path) -> None:
    assert growth_section({}, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def counts(lost: int) -> dict[str, Any]:
    one = {"priority_lost": {"cart": lost, "purchase": 0}, "scaled_error": -0.0016}
    return {"all": one, "hot": {**one, "priority_lost": {"cart": 0}}}


REACHED: dict[str, dict[str, Any]] = {
    "freshness": {"p50": 150.0, "p99": 300.0, "floor": {"p50": 50.0, "p99": 90.0}},
    "skew": {"skewed": {"p99": 348.0}, "baseline": {"p99": 311.0}, "ratio": 1.12, "counts": counts(0)},
    "triggers": {
        "intervals": 0.86, "list_ms": {"p99": 168.0}, "twice": 0, "others": 0, "wrong_item": 0, "fired": 60, "leavers": 60,
    },
    "rollback": {"days": [{}, {}], "sabotage_caught": 2, "false_rollbacks": 0, "minutes": {"median": 30.0}},
    "start-up": {"measured": 0.2, "baseline": 0.02, "ratio": 0.1, "goal_seconds": 0.3},
    "overload": {"measured": 900, "baseline": 1_000, "ratio": 0.9, "lost": 0, "by_load": {"2x": {"without_retry_after": 0}}},
    "rank": {"measured": 0.002, "baseline": "topk", "ratio": 1.2, "by_items": {}, "long_tail_by_items": {}},
}  # fmt: skip
MISSED: dict[str, dict[str, Any]] = {
    "freshness": {"p99": 501.0},
    "skew": {"counts": counts(1)},
    "triggers": {"twice": 1},
    "rollback": {"false_rollbacks": 1},
    "start-up": {"measured": 0.31},
    "overload": {"lost": 1},
    "rank": {"ratio": 0.9},
}


@pytest.mark.parametrize("name", REACHED)
def test_a_row_tells_whether_its_goal_is_reached(name: str) -> None:
    good, bad = row(name, REACHED[name], 1), row(name, REACHED[name] | MISSED[name], 1)

    assert good.startswith(f"| {name} | ")
    assert "missed" not in good
    assert bad.endswith(", **missed** |")
    assert good.count("|") == bad.count("|") == 6
    assert "None" not in good


@pytest.mark.parametrize(
    ("name", "without"),
    [("freshness", {"p99": None}), ("triggers", {"intervals": None, "list_ms": {}}), ("skew", {"ratio": None})],
)
def test_a_run_without_samples_has_missed_its_goal(name: str, without: dict[str, Any]) -> None:
    assert "**missed**" in row(name, REACHED[name] | without, None)
