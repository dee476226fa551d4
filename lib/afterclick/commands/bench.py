"""``afterclick bench``."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

ALL = "all"


def bench(
    *,
    name: Annotated[str, typer.Argument(help="What to measure; `all` for everything, `list` for the names.")],
    rate: Annotated[float, typer.Option(help="freshness, skew, triggers: events per second.", min=1)] = 500,
    seconds: Annotated[float, typer.Option(help="The same: how long to measure.", min=1)] = 60,
    quick: Annotated[bool, typer.Option(help="Small sizes: shows that it runs, the figures say nothing.")] = False,
    into: Annotated[
        Path | None, typer.Option(help="With `all`: folder for last.json and the table in README.md.", file_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a promise on this machine, with its baseline in the same run.

    Example: afterclick bench freshness --rate 500 --seconds 60 --json
    """
    from afterclick.benchmarks import suite
    from afterclick.commands.progress import announcer

    if name == "list":
        typer.echo("\n".join(suite.BENCHMARKS))
        return
    if name != ALL and name not in suite.BENCHMARKS:
        told = f"there is no benchmark {name!r}; there are {', '.join(suite.BENCHMARKS)} and {ALL}"
        raise typer.BadParameter(told, param_hint="NAME")
    options = suite.Options(quick, rate, seconds)
    announce = announcer()
    figures = suite.measure_all(options, announce) if name == ALL else suite.measure(name, options, announce)
    if into and name == ALL:
        _write(into, figures)
    typer.echo(json.dumps(figures, indent=None if as_json else 2))


def _write(folder: Path, figures: dict[str, Any]) -> None:
    from afterclick.benchmarks.suite import write_table

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "last.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if (folder / "README.md").exists():
        write_table(folder / "README.md", figures, f"{datetime.now(UTC):%Y-%m-%d}")
