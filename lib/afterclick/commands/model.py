"""``afterclick model``."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from afterclick.settings import Settings

Environment = Annotated[str | None, typer.Option(help="conf/<environment>.yaml.", envvar="AFTERCLICK_ENVIRONMENT")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Version = Annotated[str | None, typer.Argument(help="Model version, as `afterclick model list` shows it.")]
Date = Annotated[str | None, typer.Option(help="Logical date of the version, instead of its name.")]


def list_models(environment: Environment = None, as_json: AsJson = False) -> None:
    """List registered model versions, newest first, and what is served.

    Example: afterclick model list --json
    """
    from afterclick.connectors.model_registry import list_versions

    settings, client = _open(environment)
    versions, pointer = list_versions(client, settings), _pointer(settings)
    if as_json:
        typer.echo(json.dumps({"model": settings.model.name, "pointer": pointer, "versions": versions}))
        return
    table = Table("registry version", "version", "date", "status", "aliases", title=settings.model.name)
    for row in versions:
        aliases = [*row["aliases"], *(name for name, version in pointer.items() if version == row["version"])]
        status = f"{row['status'] or ''} {row['refused_because'] or ''}".strip()
        table.add_row(
            str(row["registry_version"]), row["version"], row["date"] or "", status, ", ".join(map(str, aliases))
        )
    Console().print(table)


def gate(version: Version = None, date: Date = None, environment: Environment = None) -> None:
    """Name a judged version challenger, or say why it is refused.

    Example: afterclick model gate --date 2026-11-24
    """
    from afterclick.promotion import require_passed

    settings, client = _open(environment)
    chosen = _choose(client, settings, version, date)
    require_passed(client, settings, chosen)
    _say(f"{chosen} passed every gate")


def switch(version: Version = None, date: Date = None, environment: Environment = None) -> None:
    """Make a judged and warmed version champion and serve it; running it again ends in the same state.

    Example: afterclick model switch --date 2026-11-24
    """
    from afterclick.promotion import switch as serve

    settings, client = _open(environment)
    chosen = _choose(client, settings, version, date)
    made = serve(client, settings, chosen)
    _say(f"{chosen} is served; {made:,} lists were made for people who acted meanwhile")


def verify(version: Version = None, date: Date = None, environment: Environment = None) -> None:
    """Make sure that a version is champion and served.

    Example: afterclick model verify --date 2026-11-24
    """
    from afterclick.promotion import verify as make_sure

    settings, client = _open(environment)
    chosen = _choose(client, settings, version, date)
    make_sure(client, settings, chosen)
    _say(f"{chosen} is champion and served")


def changes(environment: Environment = None, as_json: AsJson = False) -> None:
    """List what was promoted and rolled back, newest first: the audit trail.

    Example: afterclick model changes --json
    """
    from afterclick.connectors.model_changes import list_changes

    settings, client = _open(environment)
    rows = list_changes(client, settings)
    if as_json:
        typer.echo(json.dumps({"changes": rows}))
        return
    table = Table("at", "action", "left", "served", "by", "reason")
    for row in rows:
        table.add_row(
            _time(row["at_ms"]), *(str(row[name] or "") for name in ("action", "left", "served", "by", "reason"))
        )
    Console().print(table)


def promote(version: Version = None, date: Date = None, environment: Environment = None) -> None:
    """Judge a version, warm its cache and serve it: the nightly steps by hand. A refused version stays refused.

    Example: afterclick model promote 20261124T020000-1a2b3c4d
    """
    from afterclick.job_runner import job_context
    from afterclick.promotion import require_passed
    from afterclick.promotion import switch as serve
    from jobs.promote_model import judge_candidate
    from jobs.warm_cache import write_lists

    settings, client = _open(environment)
    chosen = _choose(client, settings, version, date)
    with job_context("promote", ["--environment", settings.environment]) as (spark, _):
        judge_candidate(spark, settings, chosen)
        require_passed(client, settings, chosen)
        write_lists(spark, settings, chosen)
    serve(client, settings, chosen)
    _say(f"{chosen} is served")


def rollback(
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")] = "by hand",
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Serve the version before again, with everything that arrived since.

    Example: afterclick model rollback --reason "worse lists since noon"
    """
    from afterclick.promotion import roll_back
    from afterclick.settings import load_settings

    done = roll_back(load_settings(environment), reason)
    if as_json:
        typer.echo(json.dumps(done))
        return
    _say(
        f"{done['served']} is served again instead of {done['left']} after {done['seconds']:.1f} s, with "
        f"{done['lists_caught_up']:,.0f} lists made anew for people who acted since the switch"
    )


def drift(environment: Environment = None) -> None:
    """Say whether live traffic has drifted from what the champion learned: exit code 0 if it has, 1 if not.

    Example: afterclick model drift && ./spark-submit.sh train_model
    """
    from afterclick.connectors.model_registry import champion_version, find_version
    from afterclick.live_relevance import DRIFT_TAG

    settings, client = _open(environment)
    told = find_version(client, settings, champion_version(client, settings)).tags.get(DRIFT_TAG)
    _say(told or "no drift")
    if not told:
        raise typer.Exit(1)


def alias(
    name: Annotated[str, typer.Argument(help="champion or challenger.")],
    version: Annotated[str, typer.Argument(help="Model version.")],
    environment: Environment = None,
) -> None:
    """Point an alias at a version in the registry only; what is served stays.

    Example: afterclick model alias champion 20261124T020000-1a2b3c4d
    """
    from afterclick.connectors.model_registry import CHALLENGER, CHAMPION, set_alias

    if name not in {CHAMPION, CHALLENGER}:
        raise typer.BadParameter(f"{name!r} is not one of {CHAMPION}, {CHALLENGER}")
    settings, client = _open(environment)
    set_alias(client, settings, name, version)
    _say(f"{name} is {version}")


def diff(
    first: Annotated[str, typer.Argument(help="Model version.")],
    second: Annotated[str, typer.Argument(help="Model version to compare with it.")],
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Compare two versions: items gained and lost, popular lists, figures and parameters.

    Example: afterclick model diff 20261123T020000-1a2b3c4d 20261124T020000-5e6f7a8b
    """
    from afterclick.model_difference import compare

    settings, client = _open(environment)
    found = compare(client, settings, first, second)
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("", first, second)
    for name, (one, other) in found["values"].items():
        table.add_row(name, str(one), str(other))
    Console().print(table)
    _say(
        f"items gained {found['items_gained']}, lost {found['items_lost']}, popular lists alike {found['popular_overlap']:.0%}"
    )


def _open(environment: str | None) -> "tuple[Settings, MlflowClient]":
    from afterclick.connectors.model_registry import open_registry
    from afterclick.settings import load_settings

    settings = load_settings(environment)
    return settings, open_registry(settings)


def _choose(client: "MlflowClient", settings: "Settings", version: str | None, date: str | None) -> str:
    from afterclick.connectors.model_registry import choose_version

    if (version is None) == (date is None):
        raise typer.BadParameter("name a version, or a date with --date")
    return choose_version(client, settings, version=version, date=date)


def _pointer(settings: "Settings") -> dict[str, Any]:
    """Return what Redis says, with how far a warming is; all None when it does not answer."""
    from afterclick.connectors import redis_store
    from afterclick.connectors.version_pointer import VersionPointer
    from afterclick.errors import StoreUnavailableError

    pointer = VersionPointer(redis_store.connect(settings.redis))
    try:
        served, following, previous = pointer.versions()
        parts = f"{len(pointer.warmed_parts(following))}/{settings.recommendations.warm_parts}" if following else None
    except StoreUnavailableError as error:
        Console(stderr=True).print(f"[yellow]warning[/yellow] {error}", highlight=False)
        return {"served": None, "next": None, "previous": None, "warmed_parts": None}
    return {"served": served, "next": following, "previous": previous, "warmed_parts": parts}


def _time(ms: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def _say(text: str) -> None:
    Console(stderr=True, markup=False, emoji=False).print(text, highlight=False, soft_wrap=True)
