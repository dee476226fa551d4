"""``afterclick items``: what may be listed."""

import json
from typing import Annotated

import typer

Environment = Annotated[str | None, typer.Option(help="conf/<environment>.yaml.", envvar="AFTERCLICK_ENVIRONMENT")]
Items = Annotated[list[str], typer.Argument(help="Item ids.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def withdraw(items: Items, environment: Environment = None, as_json: AsJson = False) -> None:
    """Keep items out of every answer from now on, as when they are out of stock or recalled.

    Example: afterclick items withdraw mug-1 mug-2
    """
    _change("withdraw", items, environment, as_json=as_json)


def restore(items: Items, environment: Environment = None, as_json: AsJson = False) -> None:
    """Let withdrawn items be listed again.

    Example: afterclick items restore mug-1
    """
    _change("restore", items, environment, as_json=as_json)


def list_withdrawn(environment: Environment = None, as_json: AsJson = False) -> None:
    """List the withdrawn items.

    Example: afterclick items list --json
    """
    _change("", [], environment, as_json=as_json)


def _change(what: str, items: list[str], environment: str | None, *, as_json: bool) -> None:
    from afterclick.connectors.withdrawn_items import WithdrawnItems
    from afterclick.settings import load_settings

    store = WithdrawnItems(load_settings(environment))
    if what == "withdraw":
        store.withdraw(items)
    elif what == "restore":
        store.restore(items)
    withdrawn = store.read()
    typer.echo(json.dumps({"withdrawn": withdrawn}) if as_json else "\n".join(withdrawn) or "no item is withdrawn")
