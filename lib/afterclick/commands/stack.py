"""``afterclick up``, ``down`` and ``doctor``."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

StateDir = Annotated[Path, typer.Option(help="Folder of the local state.", envvar="AFTERCLICK_STATE_DIR")]
DEFAULT = Path(".afterclick")


def up(state_dir: StateDir = DEFAULT) -> None:
    """Start Kafka and Valkey on loopback, on free ports that stay the same.

    Example: afterclick up && afterclick collector
    """
    from afterclick.local.stack import stack_status, start_stack

    endpoints = start_stack(state_dir)
    console = Console(stderr=True)
    for name, pid in stack_status(state_dir).items():
        console.print(f"{name} runs, pid {pid}", highlight=False)
    console.print(
        f"Kafka {endpoints['kafka']['bootstrap_servers']}, Redis {endpoints['redis']['url']}; "
        f"see {state_dir}/endpoints.yaml"
    )


def down(state_dir: StateDir = DEFAULT) -> None:
    """Stop Kafka and Valkey; data stays.

    Example: afterclick down
    """
    from afterclick.local.stack import stop_stack

    stopped = stop_stack(state_dir)
    Console(stderr=True).print(f"stopped: {', '.join(stopped) or 'nothing was running'}")


def doctor(
    state_dir: StateDir = DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check programs, versions, jars, settings, state and servers, and say how to fix what is wrong.

    Example: afterclick doctor --json
    """
    from afterclick.local.diagnosis import diagnose

    findings = diagnose(state_dir)
    if as_json:
        typer.echo(json.dumps({"healthy": all(f.is_good for f in findings), "checks": [f.as_dict() for f in findings]}))
    else:
        console = Console()
        for finding in findings:
            sign = "[green]ok [/green]" if finding.is_good else "[red]bad[/red]"
            told = finding.found + ("" if finding.is_good else f"\n    {finding.fix}")
            console.print(f"{sign} {finding.check}: {escape(told)}", highlight=False, soft_wrap=True)
    if not all(finding.is_good for finding in findings):
        raise typer.Exit(1)
