"""``afterclick import`` and ``replay``."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    import pyarrow as pa

    from afterclick.recorded_logs import LogMapping

Log = Annotated[Path, typer.Argument(help="Parquet, CSV or JSON Lines.", exists=True, dir_okay=False)]
MappingFile = Annotated[Path | None, typer.Option(help="How its columns become the default ones.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Environment = Annotated[str | None, typer.Option(help="conf/<environment>.yaml.", envvar="AFTERCLICK_ENVIRONMENT")]
_NAMES = {
    "view": "Product Viewed",
    "cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "purchase": "Order Completed",
}


def import_history(
    file: Log,
    mapping: MappingFile = None,
    kind: Annotated[str, typer.Option("--as", help="events, items (the catalogue) or customers.")] = "events",
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Put a recorded log, a catalogue or customers straight into the Delta tables, through their suites.

    Of a log, the mapping's `purposes` say what its people allowed. Repeating a file changes nothing.

    Example: afterclick import lines.parquet --mapping conf/mappings/online_retail.yaml
    """
    from afterclick.job_runner import job_context
    from jobs import import_dimension
    from jobs.import_history import count_import, file_digest, import_file

    if kind not in {"events", "items", "customers"}:
        raise typer.BadParameter(f"{kind!r} is not one of events, items, customers", param_hint="--as")
    console = Console(stderr=True)
    with (
        job_context("import_history", ["--environment", environment] if environment else []) as (spark, settings),
        console.status(f"importing {file}"),
    ):
        if kind == "events":
            import_file(spark, settings, file, mapping)
            figures = count_import(spark, settings, file_digest(file, mapping))
        else:
            figures = import_dimension.import_file(spark, settings, kind, file, mapping)._asdict()
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        console.print(", ".join(f"{name} {count:,}" for name, count in figures.items()), highlight=False)


def replay(  # noqa: PLR0917 - typer's options
    file: Log,
    mapping: MappingFile = None,
    speed: Annotated[float, typer.Option(help="Times faster than it happened; 0 = as fast as accepted.", min=0)] = 0,
    collector: Annotated[str | None, typer.Option(help="Its address (default: from settings).")] = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Send a recorded log through the collector, its event times mapped so that the last one is now.

    A line without a time is sent without one; a log with no time at all is refused.

    Example: afterclick replay log.csv --mapping my.yaml --speed 60
    """
    import httpx

    from afterclick.errors import StoreUnavailableError
    from afterclick.local.sender import LIMITS, SendCounts, send
    from afterclick.recorded_logs import read_log, read_mapping
    from afterclick.settings import load_settings

    settings = load_settings(environment)
    rules = read_mapping(mapping)
    log = read_log(file, rules).table.sort_by("event_at")
    _check_times(log, file, rules)
    base = collector or settings.collector.base_url
    key = settings.collector.write_keys[0].get_secret_value()
    counts = SendCounts()

    async def post() -> None:
        async with httpx.AsyncClient(base_url=base, timeout=30.0, limits=LIMITS) as client:
            for messages, wait in paced(segment_messages(log, rules.purposes), speed):
                await asyncio.sleep(wait)
                await send(messages, client, key, rate=0, counts=counts)

    with Console(stderr=True).status(f"replaying {len(log):,} lines to {base}"):
        try:
            asyncio.run(post())
        except ExceptionGroup as group:
            if group.subgroup(httpx.TransportError) is None:
                raise
            told = f"no collector answers at {base}: start it by `afterclick collector`, or name another by --collector"
            raise StoreUnavailableError(f"{told}. {len(counts.acked):,} of {len(log):,} lines were accepted") from None
    figures = {
        "lines": len(log),
        "acked": len(counts.acked),
        "refused": sum(counts.refused.values()),
        "retried": counts.retried,
    }
    typer.echo(json.dumps(figures) if as_json else ", ".join(f"{name} {count:,}" for name, count in figures.items()))


def _check_times(log: "pa.Table", file: Path, rules: "LogMapping") -> None:
    from afterclick.errors import ContractError

    if len(log) and log["event_at"].null_count == len(log):
        message = (
            f"none of the {len(log):,} lines of {file} has a time in column {rules.columns.get('event_at', 'event_at')}, as "
            "2026-11-24T12:00:00Z or a number since 1970. Name the right column by event_at, and the unit of numbers by "
            "event_at_unit, in a mapping file (--mapping), as conf/mappings/otto.yaml does."
        )
        raise ContractError(message)


def segment_messages(log: "pa.Table", purposes: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield one Segment track per line, in the log's order; lines without a time are sent without one."""
    from datetime import UTC, datetime

    times = [at for at in log["event_at"].to_pylist() if at is not None]
    offset = datetime.now(UTC) - max(times, default=datetime.now(UTC))
    consent = {"categoryPreferences": dict.fromkeys(purposes, True)}
    for number, row in enumerate(log.to_pylist()):
        product = {"product_id": row["item_id"], "quantity": row.get("quantity"), "price": row.get("price")}
        message = {
            "type": "track",
            "event": _NAMES.get(row["event_type"], row["event_type"]),
            "userId": row["subject_id"],
            "messageId": row.get("event_id") or f"replay-{times[0]:%Y%m%dT%H%M%S}-{number}",
            "properties": {**product, "order_id": row.get("order_id")},
            "context": {"consent": consent},
        }
        if row["event_at"] is not None:
            message["originalTimestamp"] = (row["event_at"] + offset).isoformat(timespec="milliseconds")
        yield message


def paced(
    messages: Iterator[dict[str, Any]], speed: float, *, size: int = 100
) -> Iterator[tuple[list[dict[str, Any]], float]]:
    """Cut messages into portions, each with the seconds to wait before it."""
    from datetime import datetime
    from itertools import islice

    before: datetime | None = None
    while portion := list(islice(messages, size)):
        first = portion[0].get("originalTimestamp")
        at = datetime.fromisoformat(first) if first else before
        wait = max(0.0, (at - before).total_seconds() / speed) if speed and at and before else 0.0
        before = at or before
        yield portion, wait
