"""``afterclick keys create|list|rotate|revoke``."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from afterclick.commands.serving import Environment

if TYPE_CHECKING:
    from afterclick.access_keys import AccessKey
    from afterclick.connectors.key_store import KeyStore

KeyId = Annotated[str, typer.Argument(help="As `afterclick keys list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def create(
    scope: Annotated[list[str] | None, typer.Option(help="ingest, read or admin; may be repeated.")] = None,
    events_per_second: Annotated[float | None, typer.Option(min=0.001, help="A rate of its own.")] = None,
    environment: Environment = None,
    json_: AsJson = False,
) -> None:
    """Make a key and print it once; only its hash is kept.

    Example: afterclick keys create --scope ingest
    """
    from datetime import UTC, datetime

    from afterclick.access_keys import Scope

    names = scope or ["ingest"]
    if unknown := set(names) - set(Scope):
        raise typer.BadParameter(f"{sorted(unknown)} are not scopes; those are {', '.join(Scope)}")
    record, key = _store(environment).create(map(Scope, names), datetime.now(UTC), events_per_second=events_per_second)
    _show_new(record, key, json_)


def rotate(
    key_id: KeyId,
    overlap_hours: Annotated[float, typer.Option(min=0, help="How long the old key still works.")] = 24.0,
    environment: Environment = None,
    json_: AsJson = False,
) -> None:
    """Make a key with the same scopes; the old one ends after the overlap.

    Example: afterclick keys rotate 3f2a90c1d4e5 --overlap-hours 48
    """
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    record, key = _store(environment).rotate(key_id, now, now + timedelta(hours=overlap_hours))
    _show_new(record, key, json_)


def revoke(key_id: KeyId, environment: Environment = None, json_: AsJson = False) -> None:
    """End a key now; services refuse it within keys.refresh_seconds.

    Example: afterclick keys revoke 3f2a90c1d4e5
    """
    from datetime import UTC, datetime

    _store(environment).revoke(key_id, datetime.now(UTC))
    typer.echo(json.dumps({"revoked": key_id}) if json_ else f"revoked {key_id}")


def list_keys(environment: Environment = None, json_: AsJson = False) -> None:
    """List the keys that are not revoked.

    Example: afterclick keys list --json
    """
    rows = [_told(key) for key in _store(environment).read_keys()]
    if json_:
        typer.echo(json.dumps({"keys": rows}))
        return
    for row in rows:
        typer.echo(f"{row['key_id']}  {','.join(row['scopes']):<18} ends {row['expires_at'] or 'never'}")


def _store(environment: str | None) -> "KeyStore":
    from afterclick.connectors.key_store import KeyStore
    from afterclick.errors import SettingsError
    from afterclick.settings import load_settings

    settings = load_settings(environment)
    if settings.keys.url is None:
        message = (
            "keys.url is not set, so keys cannot be kept; set AFTERCLICK_KEYS__URL to a database, as sqlite:///keys.db"
        )
        raise SettingsError(message)
    return KeyStore(settings.keys.url.get_secret_value())


def _told(key: "AccessKey") -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "events_per_second": key.events_per_second,
    }


def _show_new(record: "AccessKey", key: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**_told(record), "key": key}))
        return
    typer.echo(key)
    typer.echo(f"key id {record.key_id}; the key is not shown again", err=True)
