"""Seconds from a command to its end: ``afterclick --help`` must not import Spark."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from afterclick.benchmarks.interleaved import compare

GOAL_SECONDS = 0.3


def measure(*, announce: Callable[[str], None], quick: bool = False) -> dict[str, Any]:
    """Return seconds of ``afterclick --help``; the baseline is a Python that does nothing."""
    runs = 3 if quick else 15
    announce(f"{runs} runs of each")

    def run(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)  # noqa: S603 - our own interpreter

    compared = compare(lambda: run("-m", "afterclick.cli", "--help"), lambda: run("-c", "pass"), runs=runs)
    return {
        "measured": compared["measured_s"],
        "baseline": compared["baseline_s"],
        "ratio": compared["ratio"],
        "runs": runs,
        "goal_seconds": GOAL_SECONDS,
    }
