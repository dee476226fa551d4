"""``afterclick bench``."""

import json
import os
import platform
import tempfile
import time
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console


class Benchmark(StrEnum):
    """What can be measured."""

    FRESHNESS = "freshness"
    OPEN_SESSIONS = "open-sessions"
    FOLD_IN = "fold-in"
    RANK = "rank"
    RETRAIN = "retrain"
    ROLLBACK = "rollback"


def bench(
    name: Annotated[Benchmark, typer.Argument(help="What to measure.")],
    rate: Annotated[float, typer.Option(help="Events per second.", min=1)] = 500,
    seconds: Annotated[float, typer.Option(help="How long to measure.", min=1)] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a promise on this machine, with its baseline in the same run.

    Example: afterclick bench freshness --rate 500 --seconds 60 --json
    """
    console = Console(stderr=True)
    begun = time.monotonic()

    def announce(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - begun:6.1f} s[/dim]  {text}", highlight=False)

    if name is Benchmark.FRESHNESS:
        with tempfile.TemporaryDirectory(prefix="afterclick-bench-") as folder:
            figures = _measure(Path(folder), rate, seconds, announce)
    else:
        figures = _measure_rules(name, announce)
    figures = {"name": name.value, **figures, **_machine()}
    typer.echo(json.dumps(figures, indent=None if as_json else 2))


def _measure_rules(name: Benchmark, announce: Any) -> dict[str, Any]:
    from afterclick.benchmarks import fold_in, open_sessions, rank, retrain, rollback
    from afterclick.setting_sections import RelevanceSettings
    from afterclick.settings import load_ranking_settings

    if name is Benchmark.RETRAIN:
        return retrain.measure(load_ranking_settings("local")[0], announce=announce)
    if name is Benchmark.ROLLBACK:
        return rollback.measure(*load_ranking_settings("local"), RelevanceSettings(), announce=announce)
    measured: dict[Benchmark, Any] = {
        Benchmark.OPEN_SESSIONS: open_sessions,
        Benchmark.FOLD_IN: fold_in,
        Benchmark.RANK: rank,
    }
    return dict(measured[name].measure(announce=announce))


def _machine() -> dict[str, Any]:
    packages = ("numpy", "implicit", "pyspark")
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": {package: metadata.version(package) for package in packages},
    }


def _measure(folder: Path, rate: float, seconds: float, announce: Any) -> dict[str, Any]:
    from afterclick.benchmarks import freshness
    from afterclick.local.stack import local_settings, start_stack, stop_stack

    announce("starting Kafka and Valkey on loopback")
    try:
        start_stack(folder)
        return freshness.measure(local_settings(folder), rate=rate, seconds=seconds, announce=announce)
    finally:
        stop_stack(folder)
