"""All benchmarks by name, run alone or one after the other, and the table of their last figures."""

import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from afterclick.benchmarks.figure_pages import growth_section, put_between_marks
from afterclick.benchmarks.figure_rows import row
from afterclick.settings import Settings, load_ranking_settings

logger = logging.getLogger(__name__)

Announce = Callable[[str], None]
_QUICK_SECONDS = 10


@dataclass(frozen=True)
class Options:
    """How to measure; `quick` is for a look whether all benchmarks run: its figures say nothing."""

    quick: bool = False
    rate: float = 500
    seconds: float = 60


def _on_stack(module: str) -> Callable[[Options, Announce], dict[str, Any]]:
    """Return the measurement of a module that needs Kafka and Valkey; each has its own, empty ones."""

    def measure(options: Options, announce: Announce) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="afterclick-bench-") as folder:
            return _with_stack(Path(folder), lambda settings: _measured(module, settings, options, announce), announce)

    return measure


def _measured(module: str, settings: Settings, options: Options, announce: Announce) -> dict[str, Any]:
    return dict(
        import_module(f"afterclick.benchmarks.{module}").measure(settings, announce=announce, quick=options.quick)
    )


def _with_stack(folder: Path, measure: Callable[[Settings], dict[str, Any]], announce: Announce) -> dict[str, Any]:
    from afterclick.local.stack import local_settings, start_stack, stop_stack  # noqa: PLC0415 - the rules need no Kafka

    announce("starting Kafka and Valkey on loopback")
    try:
        start_stack(folder)
        return measure(local_settings(folder))
    finally:
        stop_stack(folder)


def _on_path(module: str) -> Callable[[Options, Announce], dict[str, Any]]:
    """Return the measurement of a module that runs the whole path at a rate for a time."""

    def measure(options: Options, announce: Announce) -> dict[str, Any]:
        from afterclick.benchmarks.whole_path import Pace  # noqa: PLC0415 - imports Spark

        pace = Pace(options.rate, _QUICK_SECONDS if options.quick else options.seconds, options.quick)
        measured = import_module(f"afterclick.benchmarks.{module}").measure
        with tempfile.TemporaryDirectory(prefix="afterclick-bench-") as folder:
            return _with_stack(
                Path(folder),
                lambda settings: dict(measured(settings, pace, announce=announce)),
                announce,
            )

    return measure


def _rules(module: str, **small: Any) -> Callable[[Options, Announce], dict[str, Any]]:
    """Return the measurement of a module without servers; `small` are its arguments for a quick look."""

    def measure(options: Options, announce: Announce) -> dict[str, Any]:
        arguments = small if options.quick else {}
        return dict(import_module(f"afterclick.benchmarks.{module}").measure(announce=announce, **arguments))

    return measure


def _retrain(options: Options, announce: Announce) -> dict[str, Any]:
    from afterclick.benchmarks import retrain  # noqa: PLC0415

    settings, runs = load_ranking_settings("local")[0], 1 if options.quick else 5
    return retrain.measure(settings, announce=announce, runs=runs)


def _rollback(options: Options, announce: Announce) -> dict[str, Any]:
    from afterclick.benchmarks import rollback  # noqa: PLC0415
    from afterclick.setting_sections import RelevanceSettings  # noqa: PLC0415

    days, households = (1, 600) if options.quick else (7, None)
    return rollback.measure(
        *load_ranking_settings("local"), RelevanceSettings(), announce=announce, days=days, households=households
    )


BENCHMARKS: dict[str, Callable[[Options, Announce], dict[str, Any]]] = {
    "start-up": _rules("start_up", quick=True),
    # Before the others: it tells the most memory that this process has had.
    "open-sessions": _rules("open_sessions", sessions=10_000, batch=1_000, runs=1),
    "fold-in": _rules("fold_in", ranks=(8,), most=20, runs=1),
    "rank": _rules("rank", catalogues=(4_000,), runs=1),
    "retrain": _retrain,
    "rollback": _rollback,
    "memory": _on_stack("memory"),
    "serving": _on_stack("serving"),
    "collector": _on_stack("collector"),
    "overload": _on_stack("overload"),
    "sessions": _on_stack("sessions"),
    "ingest": _on_stack("ingest"),
    "growth": _on_stack("growth"),
    "rebuild": _on_stack("rebuild"),
    "freshness": _on_path("freshness"),
    "skew": _on_path("skew"),
    "triggers": _on_path("triggers"),
}
APART: dict[str, Callable[[Options, Announce], dict[str, Any]]] = {
    "scaling": _on_path("scaling"),
    "soak": _on_path("soak"),
}
"""Too long for an hour with all: by their own names only."""
REACH: dict[str, float] = {
    "fold-in": 3,
    "rank": 1,
    "retrain": 0.9,
    "memory": 1,
    "serving": 0.8,
    "collector": 0.7,
    "sessions": 1.1,
    "ingest": 0.8,
    "growth": 1,
    "rebuild": 0.5,
}
"""Ratio to reach by benchmark; freshness, overload and start-up have goals of other kinds (benchmarks/README.md)."""


def measure(name: str, options: Options, announce: Announce) -> dict[str, Any]:
    """Return the figures of one benchmark, with machine and versions."""
    begun = time.monotonic()
    figures = (BENCHMARKS | APART)[name](options, announce)
    return {"name": name, **figures, "took_s": round(time.monotonic() - begun), **_machine()}


def measure_all(options: Options, announce: Announce) -> dict[str, Any]:
    """Return the figures of all benchmarks, one after the other; of one that fails, under `failed`, what it said."""
    begun = time.monotonic()
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for number, name in enumerate(BENCHMARKS, start=1):
        announce(f"{name} ({number} of {len(BENCHMARKS)})")
        try:
            found[name] = measure(name, options, announce)
        except Exception as error:
            logger.exception("bench %s failed, the others go on", name)
            failed[name] = f"{type(error).__name__}: {error}"
    took = round(time.monotonic() - begun)
    return {"name": "all", "took_s": took, "benchmarks": found, "failed": failed, **_machine()}


def write_table(readme: Path, figures: dict[str, Any], day: str) -> None:
    """Put the table of all figures, and of how cost grows, between the marks of a page; curves beside it."""
    told = f"`make bench`, {day}, {figures['machine']}, {figures['took_s']} s in all:"
    head = "| bench | measured | baseline | ratio | to reach |\n| --- | --- | --- | --- | --- |"
    rows = [row(name, one, REACH.get(name)) for name, one in figures["benchmarks"].items()]
    rows += [f"| {name} | **failed** | | | |" for name in figures["failed"]]
    curves = figures["benchmarks"].get("growth", {}).get("curves", {})
    put_between_marks(readme, "\n".join([told, "", head, *rows, *growth_section(curves, readme.parent)]))


def _machine() -> dict[str, Any]:
    packages = ("numpy", "implicit", "pyspark")
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": {package: metadata.version(package) for package in packages},
    }
