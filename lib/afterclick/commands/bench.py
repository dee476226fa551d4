"""``afterclick bench``."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

ALL, SCALING, SOAK = "all", "scaling", "soak"


def bench(
    *,
    name: Annotated[str, typer.Argument(help="What to measure; `all` for everything, `list` for the names.")],
    rate: Annotated[float, typer.Option(help="Of the whole path: events per second.", min=1)] = 500,
    seconds: Annotated[
        float, typer.Option(help="The same but soak: how long to measure; scaling: each load.", min=1)
    ] = 60,
    minutes: Annotated[float, typer.Option(help="soak: how long to send.", min=0.5)] = 120,
    quick: Annotated[bool, typer.Option(help="Small sizes: shows that it runs, the figures say nothing.")] = False,
    into: Annotated[
        Path | None,
        typer.Option(
            help="Folder: `all` writes last.json and the table of README.md, `scaling` the same of scaling.md.",
            file_okay=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a promise on this machine, with its baseline in the same run.

    Example: afterclick bench freshness --rate 500 --seconds 60 --json
    """
    from afterclick.benchmarks import suite
    from afterclick.commands.progress import announcer
    from afterclick.local.java import compile_quickly
    from afterclick.local.processes import end_in_order_when_terminated

    if name == "list":
        typer.echo("\n".join([*suite.BENCHMARKS, *suite.APART]))
        return
    known = suite.BENCHMARKS | suite.APART
    if name != ALL and name not in known:
        told = f"there is no benchmark {name!r}; there are {', '.join(known)} and {ALL}"
        raise typer.BadParameter(told, param_hint="NAME")
    if into and name not in {ALL, SCALING}:
        told = f"only {ALL} and {SCALING} write a page, not {name}"
        raise typer.BadParameter(told, param_hint="--into")
    options = suite.Options(quick, rate, minutes * 60 if name == SOAK else seconds)
    end_in_order_when_terminated()
    if quick:
        compile_quickly()
    announce = announcer()
    figures = suite.measure_all(options, announce) if name == ALL else suite.measure(name, options, announce)
    if into:
        _write(into, name, figures)
    typer.echo(json.dumps(figures, indent=None if as_json else 2))
    if figures.get("failed"):
        raise typer.Exit(1)


def _write(folder: Path, name: str, figures: dict[str, Any]) -> None:
    from afterclick.benchmarks.figure_pages import write_clusters
    from afterclick.benchmarks.suite import write_table

    file, page, write = {
        ALL: ("last.json", "README.md", write_table),
        SCALING: ("scaling.json", "scaling.md", write_clusters),
    }[name]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if (folder / page).exists():
        write(folder / page, figures, f"{datetime.now(UTC):%Y-%m-%d}")
