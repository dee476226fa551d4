"""``afterclick subjects consent|erase|receipt|export|canary|audit``."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from afterclick.commands.serving import Environment

if TYPE_CHECKING:
    from afterclick.pseudonyms import RawId

User = Annotated[str | None, typer.Option(help="Their user id.")]
Anonymous = Annotated[str | None, typer.Option(help="Their anonymous id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def consent(
    user: User = None,
    anonymous: Anonymous = None,
    grant: Annotated[list[str] | None, typer.Option(help="analytics or personalisation; may be repeated.")] = None,
    withdraw: Annotated[list[str] | None, typer.Option(help="The same.")] = None,
    environment: Environment = None,
) -> None:
    """Record what a person said expressly; a withdrawal empties their lists at once.

    Example: afterclick subjects consent --user ada --withdraw personalisation
    """
    from afterclick.settings import load_settings
    from afterclick.vocabulary import Purpose
    from afterclick.withdrawals import change_consent

    said = dict.fromkeys(grant or (), True) | dict.fromkeys(withdraw or (), False)
    if not said or set(said) - set(Purpose):
        raise typer.BadParameter(f"name at least one purpose to --grant or --withdraw: {', '.join(Purpose)}")
    change_consent(load_settings(environment), _raw_id(user, anonymous), said, source="command")
    Console(stderr=True).print("recorded")


def erase(
    user: User = None,
    anonymous: Anonymous = None,
    later: Annotated[bool, typer.Option(help="Only cut the link and empty the lists; the job does the rest.")] = False,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Remove a person from every store; may be repeated until every receipt says clean.

    Example: afterclick subjects erase --user ada
    """
    from afterclick.erasure import begin
    from afterclick.settings import load_settings

    erasure = begin(load_settings(environment), _raw_id(user, anonymous))
    told = "nothing is kept of this person, or their erasure was asked for before"
    told = f"erasure {erasure.erasure_id}" if erasure else told  # now: what follows may fail, and the id would be lost
    Console(stderr=True).print(told, highlight=False, soft_wrap=True)
    if not later:
        from afterclick.connectors.delta_tables import ensure_tables
        from afterclick.job_runner import job_context
        from jobs.erase_subjects import erase_pending

        with job_context("erase_subjects", ["--environment", environment] if environment else []) as (spark, settings):
            ensure_tables(spark, settings)
            erase_pending(spark, settings)
    if erasure:
        receipt(erasure.erasure_id, environment, as_json)
    elif as_json:
        typer.echo(json.dumps({"erasure_id": None, "is_clean": None, "receipts": []}))


def receipt(
    erasure_id: Annotated[str, typer.Argument(help="As `subjects erase` printed it.")],
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Show what each store said of an erasure: since when the person is gone and since when no byte is left.

    Example: afterclick subjects receipt 6f0c... --json
    """
    from afterclick.connectors.erasure_store import ErasureStore
    from afterclick.connectors.subject_store import open_subject_store
    from afterclick.settings import load_settings

    store = ErasureStore(open_subject_store(load_settings(environment)))
    asked, receipts = store.read(erasure_id), store.receipts(erasure_id).values()
    if not asked:
        raise typer.BadParameter(f"there is no erasure {erasure_id!r}")
    if as_json:
        told = [one._asdict() for one in receipts]
        is_clean = not asked[0].subject_ids and all(one.clean_ms is not None for one in receipts)
        typer.echo(json.dumps({"erasure_id": erasure_id, "is_clean": is_clean, "receipts": told}))
        return
    table = Table("store", "gone since", "clean since", "why", title=f"erasure {erasure_id}")
    for one in receipts:
        table.add_row(one.store, _time(one.removed_ms), _time(one.clean_ms), one.told)
    Console().print(table)


def export(
    user: User = None,
    anonymous: Anonymous = None,
    out: Annotated[Path | None, typer.Option(help="File to write (default: standard output).")] = None,
    environment: Environment = None,
) -> None:
    """Write everything that is kept of a person as JSON Lines.

    Example: afterclick subjects export --user ada --out ada.jsonl
    """
    from afterclick.job_runner import job_context
    from afterclick.subject_export import export_rows

    identifier = _raw_id(user, anonymous)
    with job_context("export_subject", ["--environment", environment] if environment else []) as (spark, settings):
        lines = [json.dumps(row, default=str) + "\n" for row in export_rows(spark, settings, identifier)]
    if out:
        out.write_text("".join(lines), encoding="utf-8")
    else:
        sys.stdout.writelines(lines)
    Console(stderr=True).print(f"{len(lines)} records")


def canary(
    out: Annotated[Path, typer.Option(help="File for the markers; `subjects audit` reads it.")],
    environment: Environment = None,
) -> None:
    """Send events of two invented people with random markers through the collector: one to erase, one to stay.

    Example: afterclick subjects canary --out markers.json
    """
    from afterclick.settings import load_settings
    from afterclick.subject_canary import plant

    markers = plant(load_settings(environment))
    out.write_text(json.dumps(markers, indent=2), encoding="utf-8")
    user = markers["canary"][0]
    Console(stderr=True).print(f"when the streams have them: afterclick subjects erase --user {user}", soft_wrap=True)


def audit(
    markers: Annotated[Path, typer.Argument(help="As `subjects canary` wrote it.", exists=True, dir_okay=False)],
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Search every store for an erased canary, raw and decoded; exit code 1 when it is found or the search is void.

    Example: afterclick subjects audit markers.json --json
    """
    from afterclick.settings import load_settings
    from afterclick.subject_audit import audit as search

    told = search(load_settings(environment), **json.loads(markers.read_text(encoding="utf-8")))
    if as_json:
        typer.echo(json.dumps(told))
    else:
        table = Table("store", "canary", "control", title=f"{told['erasure_hits']} places with the erased person")
        for store, hits in told["stores"].items():
            table.add_row(store, str(hits.get("canary", 0)), str(hits.get("control", 0)))
        Console().print(table)
    if told["erasure_hits"] or told["is_void"]:
        raise typer.Exit(1)


def _raw_id(user: str | None, anonymous: str | None) -> "RawId":
    from afterclick.pseudonyms import RawId

    if bool(user) == bool(anonymous):
        raise typer.BadParameter("give either --user or --anonymous")
    return RawId("user", user) if user else RawId("anonymous", str(anonymous))


def _time(ms: int | None) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds") if ms else "not yet"
