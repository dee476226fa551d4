"""What clients may ask of a list: the same names in the address and in a body."""

from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

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


_Asked = TypeVar("_Asked", bound=Wishes)


def read_query(asked: type[_Asked], request: Request) -> _Asked:
    """Return what a request's address asks; errors are answered as FastAPI's own.

    FastAPI itself looks up the kind of every field at each request, a fifth of the time of an answer. What it would say
    of them in the API's description is `described_query`.
    """
    try:
        return asked.model_validate(dict(request.query_params))
    except ValidationError as error:
        told = [{**one, "loc": ("query", *one["loc"])} for one in error.errors(include_url=False)]
        raise RequestValidationError(told) from error


def described_query(asked: type[Wishes]) -> dict[str, Any]:
    """Return the part of a route's description that says what its address may hold, for ``openapi_extra``."""
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema, "description": schema["description"]}
            for name, schema in asked.model_json_schema()["properties"].items()
        ],
        "responses": {"422": {"description": "Validation Error", "content": refused}},
    }


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
