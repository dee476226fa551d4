"""``bench --quick``: every benchmark runs, without thresholds; those without the streams in each run, all of them nightly."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afterclick.benchmarks import suite
from nightly import NIGHTLY

CHEAP = ("fold-in", "rank", "memory", "serving", "collector")
"""About a minute and a half together; tests/unit/test_suite.py runs two more."""
MOST_SECONDS = 480
pytestmark = pytest.mark.timeout(1_800)


def run(name: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "afterclick.cli", "bench", name, "--quick", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own interpreter
    assert done.returncode == 0, done.stderr[-3_000:]
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", CHEAP)
def test_a_quick_benchmark_without_streams_runs(name: str) -> None:
    figures = run(name)

    assert figures["name"] == name
    assert figures["measured"] > 0


@NIGHTLY
def test_all_quick_ones_take_less_than_eight_minutes_and_fill_the_page(tmp_path: Path) -> None:
    shutil.copy("benchmarks/README.md", tmp_path)

    figures = run("all", "--into", str(tmp_path))

    assert list(figures["benchmarks"]) == list(suite.BENCHMARKS)
    assert json.loads((tmp_path / "last.json").read_text("utf-8")) == figures
    page = (tmp_path / "README.md").read_text("utf-8")
    assert all(f"\n| {name} | " in page for name in suite.BENCHMARKS)
    assert (tmp_path / "growth.svg").stat().st_size > 0
    assert figures["took_s"] < MOST_SECONDS, {name: one["took_s"] for name, one in figures["benchmarks"].items()}


@NIGHTLY
def test_a_quick_scaling_run_predicts_and_fills_the_page(tmp_path: Path) -> None:
    shutil.copy("docs/scaling.md", tmp_path)

    figures = run("scaling", "--into", str(tmp_path))

    assert figures["queue"]["fixed_ms"] > 0
    assert set(figures["loads"]) == {"50", "100", "500"}
    assert all(one["predicted"]["p99"] > 0 for one in figures["loads"].values())
    assert "| 1,000,000 events/s |" in (tmp_path / "scaling.md").read_text("utf-8")


@NIGHTLY
def test_a_short_soak_loses_nothing() -> None:
    figures = run("soak", "--minutes", "1", "--rate", "200")

    counts = figures["counts"]
    assert counts["acked"] == counts["in_kafka"] == counts["consumed"] == 200 * (10 + 60)
    assert {name: counts[name] for name in ("lost", "doubled", "imbalance", "offset_gaps")} == dict.fromkeys(
        ("lost", "doubled", "imbalance", "offset_gaps"), 0
    )
    assert {"collector", "api", "recommendations", "bulk", "kafka", "valkey"} < figures["memory"].keys()
    assert figures["first"]["p99"] > 0
