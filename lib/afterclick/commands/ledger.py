"""``afterclick ledger``."""

import json
from typing import Annotated

import typer
from rich.console import Console


def check(
    environment: Annotated[
        str | None, typer.Option(help="conf/<environment>.yaml.", envvar="AFTERCLICK_ENVIRONMENT")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Prove that every consumed message has one fate, by the ledger and the tables; exits with 1 when not.

    Example: afterclick ledger check --json
    """
    from afterclick.connectors.ledger import FAULTS, check_ledger
    from afterclick.job_runner import job_context

    console = Console(stderr=True)
    with (
        job_context("ledger_check", ["--environment", environment] if environment else []) as (spark, settings),
        console.status("comparing the ledger with the tables"),
    ):
        figures = check_ledger(spark, settings)
    is_balanced = not any(figures[name] for name in FAULTS)
    if as_json:
        typer.echo(json.dumps({**figures, "balanced": is_balanced}))
    else:
        for name, count in figures.items():
            told = "[red] <- must be 0[/red]" if name in FAULTS and count else ""
            Console().print(f"{name.replace('_', ' '):>22}  {count:>12,}{told}", highlight=False)
    if not is_balanced:
        raise typer.Exit(1)
