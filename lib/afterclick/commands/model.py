"""``afterclick model``."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def list_models(
    environment: Annotated[
        str | None, typer.Option(help="conf/<environment>.yaml.", envvar="AFTERCLICK_ENVIRONMENT")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List registered model versions, newest first.

    Example: afterclick model list --json
    """
    from afterclick.connectors.model_registry import list_versions, open_registry
    from afterclick.settings import load_settings

    settings = load_settings(environment)
    versions = list_versions(open_registry(settings), settings)
    if as_json:
        typer.echo(json.dumps({"model": settings.model.name, "versions": versions}))
        return
    table = Table("registry version", "version", "aliases", title=settings.model.name)
    for row in versions:
        table.add_row(str(row["registry_version"]), row["version"], ", ".join(row["aliases"]))
    Console().print(table)
