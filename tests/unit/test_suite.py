"""Benchmarks by name: every one is listed with its goal, small ones run, and the table on the page is rewritten in place."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from afterclick.benchmarks import suite
from afterclick.benchmarks.growth import fitted
from afterclick.cli import app

runner = CliRunner()


def quiet(_: str) -> None:
    """Say nothing."""


def test_every_goal_belongs_to_a_benchmark() -> None:
    assert suite.REACH.keys() <= suite.BENCHMARKS.keys()


def test_list_names_every_benchmark_and_an_unknown_name_is_wrong_use_that_names_them() -> None:
    listed = runner.invoke(app, ["bench", "list"])
    unknown = runner.invoke(app, ["bench", "teleport"])

    assert listed.stdout.split() == [*suite.BENCHMARKS, *suite.APART]
    assert unknown.exit_code == 2
    assert "fold-in" in unknown.output


@pytest.mark.parametrize("name", ["start-up", "open-sessions"])
def test_a_quick_measurement_says_what_was_measured_and_on_which_machine(name: str) -> None:
    figures = suite.measure(name, suite.Options(quick=True), quiet)

    assert figures["name"] == name
    assert figures["measured"] > 0
    assert figures["machine"]
    json.dumps(figures)


@pytest.mark.parametrize(("exponent", "step"), [(0.0, 1.0), (1.0, 10.0), (0.5, 10**0.5)])
def test_fitted_finds_the_exponent_and_the_growth_for_ten_times_the_size(exponent: float, step: float) -> None:
    sizes = [100, 1_000, 10_000]
    curve = fitted(sizes, [0.001 * size**exponent for size in sizes])

    assert curve["exponent"] == pytest.approx(exponent, abs=1e-3)
    assert curve["step"] == pytest.approx(step, rel=1e-3)


def test_write_table_replaces_what_stands_between_the_marks_and_says_which_goal_is_missed(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- last figures -->\nold\n<!-- end -->\nafter\n", "utf-8")
    found = {
        "rank": {
            "measured": 1,
            "baseline": "topk",
            "ratio": 0.7,
            "by_items": {"4000": {"implicit": {"ratio": 0.7}}, "40000": {"implicit": {"ratio": 1.5}}},
            "long_tail_by_items": {"40000": {"implicit": {"ratio": 2.5}}},
        },
        "sessions": {
            "measured": 9000,
            "baseline": 8000,
            "ratio": 1.125,
            "without_triggers": {"measured": 9500, "ratio": 1.2},
        },
        "retrain": {"measured": 1, "baseline": 2, "ratio": 0.95},
        "freshness": {
            "p50": 150,
            "p99": 300,
            "floor": {"p50": 75, "p99": 150},
            "through_switch": {"p50": 200, "p99": 600},
        },
    }

    figures = {"machine": "m", "took_s": 5, "benchmarks": found, "failed": {"skew": "KafkaError: gone"}}
    suite.write_table(page, figures, "2026-11-26")

    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert (
        "| rank | 1 s; 4,000 items: 0.7 of implicit; 40,000 items: 1.5 of implicit; "
        "40,000 items with a long tail: 2.5 of implicit | topk | 0.7 | 1, **missed** |" in text
    )
    assert "| sessions | 9,000 events/s; without triggers 9,500, 1.2 | 8,000 events/s | 1.125 | 1.1 |" in text
    assert "| retrain | 1 s | 2 s | 0.95 | 0.9 |" in text
    assert "| freshness | 150 / 300 ms; through a switch 200 / 600 ms | 75 / 150 ms | 0.50 | 200 / 500 ms |" in text
    assert "| skew | **failed** |" in text


def test_all_goes_on_after_one_that_fails_and_ends_with_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> dict[str, Any]:
        raise OSError("no broker")

    monkeypatch.setattr(suite, "BENCHMARKS", {"skew": fails, "rank": lambda *_: {"measured": 1}})

    done = runner.invoke(app, ["bench", "all", "--json"])

    assert done.exit_code == 1
    figures = json.loads(done.stdout)
    assert figures["failed"] == {"skew": "OSError: no broker"}
    assert figures["benchmarks"]["rank"]["measured"] == 1
