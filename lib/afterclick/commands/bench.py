"""``afterclick bench``."""

import json
import platform
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console


class Benchmark(StrEnum):
    """What can be measured."""

    FRESHNESS = "freshness"
    OPEN_SESSIONS = "open-sessions"


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

    if name is Benchmark.OPEN_SESSIONS:
        from afterclick.benchmarks import open_sessions

        figures = open_sessions.measure(announce=announce)
    else:
        with tempfile.TemporaryDirectory(prefix="afterclick-bench-") as folder:
            figures = _measure(Path(folder), rate, seconds, announce)
    figures = {"name": name.value, **figures, "machine": f"{platform.machine()}, {platform.python_version()}"}
    typer.echo(json.dumps(figures, indent=None if as_json else 2))


def _measure(folder: Path, rate: float, seconds: float, announce: Any) -> dict[str, Any]:
    from afterclick.benchmarks import freshness
    from afterclick.local.stack import local_settings, start_stack, stop_stack

    announce("starting Kafka and Valkey on loopback")
    try:
        start_stack(folder)
        return freshness.measure(local_settings(folder), rate=rate, seconds=seconds, announce=announce)
    finally:
        stop_stack(folder)
