"""``afterclick init``."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def init(
    folder: Annotated[Path, typer.Argument(help="Where; made when it does not exist.", file_okay=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a project for your own data: settings, expectation suites, trigger rules, a mapping to adapt.

    Nothing that exists is overwritten.

    Example: afterclick init my_shop
    """
    from afterclick.new_project import NEXT, write_project

    written = write_project(folder)
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "written": list(map(str, written)), "next": NEXT}))
        return
    console = Console()
    for file in written:
        console.print(f"wrote {folder / file}", highlight=False, markup=False, soft_wrap=True)
    steps = "\n  ".join([f"cd {folder}", *NEXT])
    console.print(
        f"Adapt conf/mappings/my_events.yaml, then:\n  {steps}", highlight=False, markup=False, soft_wrap=True
    )
