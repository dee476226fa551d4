"""``afterclick triggers``."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from afterclick.settings import Settings

_EXAMPLE = "2026-11-01 or 2026-11-01T12:00:00Z"


def replay(
    rules: Annotated[Path, typer.Option(help="Rules to try.", exists=True, dir_okay=False)],
    begin: Annotated[str, typer.Option("--from", help=f"Triggers due after this, UTC: {_EXAMPLE}.")],
    end: Annotated[str, typer.Option("--to", help="Triggers due up to this.")],
    environment: Annotated[
        str | None, typer.Option(help="conf/<environment>.yaml.", envvar="AFTERCLICK_ENVIRONMENT")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what rules would have fired on the recorded events, for how many people, how late, and the difference to today's.

    Example: afterclick triggers replay --rules new.yaml --from 2026-11-01 --to 2026-11-08 --json
    """
    from afterclick.job_runner import job_context
    from afterclick.trigger_replay import Interval

    interval = Interval(_moment(begin, "--from"), _moment(end, "--to"))
    if interval.begin >= interval.end:
        raise typer.BadParameter(f"{begin} is not before {end}", param_hint="--from")
    console = Console(stderr=True)
    arguments = ["--environment", environment] if environment else []
    with job_context("triggers_replay", arguments) as (spark, settings), console.status(f"replaying {begin} to {end}"):
        figures = replay_figures(spark, settings, rules, interval)
    told = (f"{name} {value}" for name, value in figures.items())
    typer.echo(json.dumps(figures) if as_json else "\n".join(told))


def replay_figures(spark: "SparkSession", settings: "Settings", rules: Path, interval: Any) -> dict[str, Any]:
    """Return the counts, the lateness and what the live job has recorded for the same interval."""
    from pyspark.sql import functions as F

    from afterclick.connectors import delta_tables
    from afterclick.connectors.accepted_events import read_accepted
    from afterclick.trigger_file import read_rule_file
    from afterclick.trigger_replay import compare, lateness_seconds, replay_rules

    events = read_accepted(spark, settings)
    fired = replay_rules(events, read_rule_file(str(rules)), str(rules), interval)
    today_file = settings.triggers.rules
    text = read_rule_file(today_file) if today_file else ""
    today = replay_rules(events, text, str(today_file), interval)
    recorded = delta_tables.read_table(spark, settings, "triggers")
    is_within = (F.col("due_at") > interval.begin) & (F.col("due_at") <= interval.end)
    live = recorded.where(is_within & F.col("rule").isin(fired["rule"].unique().to_pylist()))
    delay = settings.triggers.delay_seconds
    return {
        **compare(fired, today),
        "lateness_seconds": lateness_seconds(events, fired["due_us"].to_numpy(), interval, delay_seconds=delay),
        "recorded_live": live.count(),
    }


def _moment(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a time like {_EXAMPLE}", param_hint=option) from error
    return moment.replace(tzinfo=moment.tzinfo or UTC)
