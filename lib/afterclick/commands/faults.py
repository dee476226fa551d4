"""``afterclick faults``."""

import json
import logging
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table


def run(  # noqa: PLR0917 - options, named on the command line
    events: Annotated[int, typer.Option(help="Events to send, each delivered 1-5 times.", min=100)] = 20_000,
    kills: Annotated[int, typer.Option(help="Kills of each target at random times.", min=0)] = 5,
    seed: Annotated[int, typer.Option(help="The same seed gives the same load and kill plan.")] = 1,
    targets: Annotated[str, typer.Option(help="Comma-separated.")] = "driver,broker,redis,collector",
    crash_points: Annotated[bool, typer.Option(help="Also die once at each named point.")] = True,
    into: Annotated[Path | None, typer.Option(help="Add this run to the totals in a JSON file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Kill processes under load, then account for every event; exits with 1 unless all eight counts are 0.

    Real Kafka, Valkey, Spark, collector and API in a folder of their own, removed when all counts are 0.

    Example: afterclick faults run --events 20000 --kills 5 --seed 1 --targets driver,broker,redis,collector --json
    """
    from afterclick.faults.run import TARGETS, FaultPlan
    from afterclick.faults.verdict import COUNTS
    from afterclick.local.processes import end_in_order_when_terminated
    from afterclick.logs import configure_logging
    from afterclick.setting_sections import LogSettings

    wanted = [name.strip() for name in targets.split(",") if name.strip()]
    if unknown := set(wanted) - set(TARGETS):
        message = f"unknown {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}"
        raise typer.BadParameter(message, param_hint="--targets")
    end_in_order_when_terminated()
    configure_logging(LogSettings(), 30)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it tells of every broker we kill
    plan = FaultPlan(events, kills, seed, wanted, crash_points)
    figures = _run(Path(tempfile.mkdtemp(prefix="afterclick-faults-")), plan)
    if into:
        from afterclick.faults.totals import add_run

        add_run(into, figures)
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        _print(figures)
    if any(figures[name] for name in COUNTS):
        raise typer.Exit(1)


def _run(folder: Path, plan: Any) -> dict[str, Any]:
    import os
    import shutil

    from afterclick.commands.progress import announcer
    from afterclick.errors import AfterclickError
    from afterclick.faults.run import run as run_faults
    from afterclick.faults.verdict import COUNTS
    from afterclick.local.stack import start_stack, stop_stack
    from afterclick.settings import load_settings

    announce, sixth = announcer(), str(max(10, plan.events // 5))
    ours = {
        "AFTERCLICK_STATE_DIR": str(folder),
        "AFTERCLICK_STREAMS__BULK_TRIGGER_SECONDS": "1",
        # A sixth of the deliveries: before the first late event (a quarter) the watermark has moved, live and in the replay.
        "AFTERCLICK_KAFKA__MAX_OFFSETS_PER_TRIGGER": sixth,
        "AFTERCLICK_KAFKA__BULK_MAX_OFFSETS_PER_TRIGGER": sixth,
        "AFTERCLICK_QUALITY__SAMPLE_ROWS": "0",
        "AFTERCLICK_COLLECTOR__DELIVERY_TIMEOUT_SECONDS": "5",
    }
    announce("starting Kafka and Valkey on loopback")
    try:
        start_stack(folder)
        settings = load_settings("local", variables={**os.environ, **ours})  # noqa: TID251 - the caller's stay in force
        figures = run_faults(settings, plan, announce)
    except AfterclickError:
        announce(f"tables, checkpoints and logs are kept in {folder}")
        raise
    finally:
        stop_stack(folder)
    if any(figures[name] for name in COUNTS):
        announce(f"tables, checkpoints and logs are kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return figures


def _print(figures: dict[str, Any]) -> None:
    table = Table(title="What became of every event", show_header=False)
    for key, value in figures.items():
        table.add_row(key.replace("_", " "), str(value))
    Console().print(table)
