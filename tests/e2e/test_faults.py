"""A small fault run: each target killed, the load joined with the tables, everything built again: all counts 0."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from afterclick.faults.verdict import COUNTS
from nightly import NIGHTLY

pytestmark = [NIGHTLY, pytest.mark.timeout(1800)]


def test_fault_run_loses_doubles_and_invents_nothing(tmp_path: Path) -> None:
    """`make faults` is the same with 20,000 events, more kills and every crash point."""
    command = ["faults", "run", "--events", "1500", "--kills", "1", "--seed", "7", "--no-crash-points", "--json"]
    totals = tmp_path / "totals.json"

    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "afterclick.cli", *command, "--into", str(totals)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout, done.stderr[-3000:]
    figures = json.loads(done.stdout)
    assert {name: figures[name] for name in COUNTS} == dict.fromkeys(COUNTS, 0), figures
    assert done.returncode == 0
    assert figures["misfiled"] == 0
    assert figures["acked"] == 1500
    assert sum(figures["random_kills"].values()) == 4
    assert figures["serving"]["5xx"] == 0
    assert figures["rows"]["sessions"] > 0
    assert figures["rows"]["late_events"] > 0
    assert json.loads(totals.read_text())["totals"]["acked"] == 1500
