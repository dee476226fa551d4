"""What clients may ask of a list: the same names in the address and in a body."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ItemId = Annotated[str, Field(min_length=1, max_length=256)]
Kind = Literal["user", "anonymous"]


class Wishes(BaseModel):
    """What every list can be asked to be like."""

    n: int = Field(default=10, ge=1, le=500, description="Items wanted.")
    category: str | None = Field(
        default=None,
        max_length=256,
        description="Only items of this category of the catalogue; if none of them may be shown, all (see `relaxed`).",
    )
    per_category: int | None = Field(
        default=None, ge=1, le=500, description="Most items of one category, as long as others are left."
    )
    placement: str | None = Field(
        default=None, max_length=64, description="Where it is shown: rules of `serving.placements` apply; given back."
    )
    dry_run: bool = Field(
        default=False, description="Only look: not logged as shown, no attribution token, nothing explored."
    )


class PersonalWishes(Wishes):
    """And of a list for somebody."""

    exclude_seen: bool = Field(default=False, description="Leave out what the person had.")
    explain: bool = Field(default=False, description="Add `because`, `share` and `carried_by`.")


class NamedItems(BaseModel):
    """Item ids in an address."""

    exclude: str = Field(default="", description="Item ids to leave out, comma-separated.")
    pin: str = Field(default="", description="Item ids to put first, comma-separated; hidden ones are left out.")


class PopularQuery(Wishes, NamedItems):
    """``GET /v1/popular`` and ``/v1/similar``."""


class PersonQuery(PersonalWishes, NamedItems):
    """``GET /v1/recommendations/{user}``."""

    kind: Kind = Field(default="user", description="Which id this is.")


class SessionRequest(PersonalWishes):
    """An anonymous session: its items, oldest first; nothing of it is stored."""

    model_config = ConfigDict(extra="forbid")

    items: list[ItemId] = Field(max_length=200)
    exclude: list[ItemId] = Field(default_factory=list, max_length=1000)
    pin: list[ItemId] = Field(default_factory=list, max_length=100)


class BatchRequest(PersonalWishes):
    """Several people at once."""

    model_config = ConfigDict(extra="forbid")

    users: list[Annotated[str, Field(min_length=1, max_length=512)]] = Field(min_length=1, max_length=100)
    kind: Kind = "user"
    exclude: list[ItemId] = Field(default_factory=list, max_length=1000)
    pin: list[ItemId] = Field(default_factory=list, max_length=100)


def named(items: str | list[str]) -> tuple[str, ...]:
    """Return the item ids of an address or a body."""
    parts = items.split(",") if isinstance(items, str) else items
    return tuple(part.strip() for part in parts if part.strip())
