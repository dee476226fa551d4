"""``afterclick subjects consent``."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from afterclick.commands.serving import Environment

if TYPE_CHECKING:
    from afterclick.pseudonyms import RawId

User = Annotated[str | None, typer.Option(help="Their user id.")]
Anonymous = Annotated[str | None, typer.Option(help="Their anonymous id.")]


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


def _raw_id(user: str | None, anonymous: str | None) -> "RawId":
    from afterclick.pseudonyms import RawId

    if bool(user) == bool(anonymous):
        raise typer.BadParameter("give either --user or --anonymous")
    return RawId("user", user) if user else RawId("anonymous", str(anonymous))
