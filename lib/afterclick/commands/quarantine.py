"""``afterclick quarantine``."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from afterclick.quarantine import Selection

Reason = Annotated[list[str] | None, typer.Option("--reason", help="Only with this reason; repeatable.")]
Expectation = Annotated[str | None, typer.Option(help="Only where a failed expectation contains this text.")]
Topic = Annotated[str | None, typer.Option(help="Only from this Kafka topic.")]
Partition = Annotated[int | None, typer.Option(help="Only from this partition.")]
Offset = Annotated[int | None, typer.Option(help="Only at this offset.")]
Since = Annotated[datetime | None, typer.Option(help="Only quarantined at or after this time (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Only quarantined before this time (UTC).")]
Limit = Annotated[int, typer.Option(help="Show at most so many messages.", min=1)]
Environment = Annotated[str | None, typer.Option(help="conf/<environment>.yaml.", envvar="AFTERCLICK_ENVIRONMENT")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def list_reasons(  # noqa: PLR0917 - typer's options
    reason: Reason = None,
    expectation: Expectation = None,
    topic: Topic = None,
    partition: Partition = None,
    since: Since = None,
    until: Until = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Count the quarantined messages by reason; a message with two reasons counts for both.

    Example: afterclick quarantine list --since 2026-11-24 --json
    """
    from afterclick.job_runner import job_context
    from afterclick.quarantine import count_reasons

    wanted = _selection(reason, expectation, topic, partition, None, since, until)
    with job_context("quarantine_list", _arguments(environment)) as (spark, settings):
        rows = _read(spark, settings).where(wanted.condition())
        found = [row.asDict() for row in count_reasons(rows).collect()]  # one row per reason
        messages = rows.count()
    if as_json:
        typer.echo(json.dumps({"messages": messages, "reasons": found}, default=_iso))
        return
    table = Table("reason", "messages", "first", "last", title=f"{messages:,} messages in quarantine")
    for row in found:
        table.add_row(row["reason"], f"{row['messages']:,}", f"{row['first_at']:%F %T}", f"{row['last_at']:%F %T}")
    Console().print(table)


def inspect(  # noqa: PLR0917 - typer's options
    reason: Reason = None,
    expectation: Expectation = None,
    topic: Topic = None,
    partition: Partition = None,
    offset: Offset = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 5,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Show quarantined messages with their reasons, Kafka positions and raw bytes.

    Example: afterclick quarantine inspect --reason price_negative --limit 1
    """
    from afterclick.job_runner import job_context

    wanted = _selection(reason, expectation, topic, partition, offset, since, until)
    with job_context("quarantine_inspect", _arguments(environment)) as (spark, settings):
        rows = _read(spark, settings).where(wanted.condition())
        found = [_shown(row) for row in rows.orderBy("topic", "kafka_partition", "kafka_offset").limit(limit).collect()]
    if as_json:
        typer.echo(json.dumps({"messages": found}, default=_iso))
        return
    console = Console(highlight=False, markup=False, emoji=False)  # brackets and colons are the message's own
    for message in found:
        console.print(*(f"{name:>20}  {value}" for name, value in message.items()), "", sep="\n")


def replay(  # noqa: PLR0917 - typer's options
    fix: Annotated[Path | None, typer.Option(help="YAML file with set, rename and cast steps.", exists=True)] = None,
    reason: Reason = None,
    expectation: Expectation = None,
    topic: Topic = None,
    partition: Partition = None,
    offset: Offset = None,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the fates, write nothing.")] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Repair quarantined messages and take them in through the same checks; a second time adds nothing.

    A fix file lists steps under `fixes:`, as `- cast: {field: "items[].price", to: number}`,
    `- rename: {from: userId, to: subject_id}`, `- set: {field: "items[].quantity", value: 1, instead_of: 0}`.

    Example: afterclick quarantine replay --reason malformed --fix prices.yaml --dry-run
    """
    from afterclick.job_runner import job_context
    from afterclick.quarantine_fixes import read_fixes
    from jobs.replay_quarantine import replay as replay_selected
    from jobs.replay_quarantine import try_out

    steps = read_fixes(fix) if fix else ()
    wanted = _selection(reason, expectation, topic, partition, offset, since, until)
    with job_context("replay_quarantine", _arguments(environment)) as (spark, settings):
        counts = (try_out if dry_run else replay_selected)(spark, settings, wanted, steps)
    figures: dict[str, Any] = {"selected": counts.pop("consumed"), "still_failing": counts.pop("quarantine"), **counts}
    if as_json:
        typer.echo(json.dumps({**figures, "dry_run": dry_run}))
        return
    told = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in figures.items())
    Console().print(f"{'would be: ' if dry_run else ''}{told}", highlight=False)


def _selection(  # noqa: PLR0917 - in the order of the options
    reason: list[str] | None,
    expectation: str | None,
    topic: str | None,
    partition: int | None,
    offset: int | None,
    since: datetime | None,
    until: datetime | None,
) -> "Selection":
    from afterclick.quarantine import Selection

    return Selection(tuple(reason or ()), expectation, topic, partition, offset, since, until)


def _arguments(environment: str | None) -> list[str]:
    return ["--environment", environment] if environment else []


def _read(spark: Any, settings: Any) -> Any:
    from afterclick.connectors import delta_tables

    delta_tables.ensure_tables(spark, settings)
    return delta_tables.read_table(spark, settings, "quarantine")


def _shown(row: Any) -> dict[str, Any]:
    """Return a row for people: bytes as text where they are UTF-8, else as hexadecimal."""
    return {name: _text(value) for name, value in row.asDict().items() if not name.startswith("replay")}


def _text(value: Any) -> Any:
    if not isinstance(value, bytearray | bytes):
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return f"hex:{bytes(value).hex()}"


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
