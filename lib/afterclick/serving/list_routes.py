"""Routes that answer a GET with a list: what each may be asked is told once, and read without FastAPI's search for it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.params import Depends
from fastapi.responses import JSONResponse, Response
from pydantic import Field, TypeAdapter, ValidationError
from starlette.convertors import StringConvertor, register_url_convertor

from afterclick.answered_first import Answered, AnsweredFirst, Endpoint
from afterclick.errors import AfterclickError
from afterclick.serving.answers import Recommendations
from afterclick.serving.wishes import NamedItems, Wishes

_Asked = TypeVar("_Asked", bound=Wishes)
_IDS = {
    "user_id": TypeAdapter(Annotated[str, Field(min_length=1, max_length=512)]),
    "item_id": TypeAdapter(Annotated[str, Field(min_length=1, max_length=256)]),
}
"""What a path may hold."""


class _Id(StringConvertor):
    """The rest of a path, with any slashes but a last one: that is where FastAPI looks for the path without it."""

    regex = r"[\s\S]*[^/]"


register_url_convertor("id", _Id())


class ListRoutes:
    """The routes that answer a GET with `Recommendations`, told to FastAPI, and answered before it looks for them.

    Parameters
    ----------
    dependencies, responses
        Of each route; of the ones beside them too.
    """

    def __init__(
        self, app: FastAPI, dependencies: Sequence[Depends], responses: dict[int | str, dict[str, Any]]
    ) -> None:
        self._app = app
        self.dependencies = dependencies
        self.responses = responses
        self._answered: dict[str, Answered] = {}
        checks = [found.dependency for found in dependencies if found.dependency]
        refusals = HTTPException, RequestValidationError, AfterclickError
        app.add_middleware(AnsweredFirst, "GET", self._answered, checks, refusals)

    def add(self, path: str, endpoint: Endpoint, asked: type[Wishes], *, summary: str) -> None:
        """Add one; `asked` is what its address may ask, read by `read_query`. Its path may end with an id."""
        names = [name for name in _IDS if path.endswith(f"/{{{name}}}")]
        self._app.router.add_api_route(
            path.replace("}", ":id}"),
            endpoint,
            methods=["GET"],
            summary=summary,
            response_model=Recommendations,
            dependencies=self.dependencies,
            responses=self.responses,
            openapi_extra=_described(asked, names),
        )
        self._answered[path.partition("{")[0]] = Answered(endpoint, names[0] if names else None)


def read_id(request: Request, name: str) -> str:
    """Return an id of the path; errors are answered as FastAPI's own."""
    try:
        return _IDS[name].validate_python(request.path_params[name])
    except ValidationError as error:
        raise _refused(error, "path", name) from error


def read_query(asked: type[_Asked], request: Request) -> _Asked:
    """Return what a request's address asks, item ids of all parameters with their name; errors likewise."""
    try:
        sent = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        found = dict(sent)
        for name in NamedItems.model_fields.keys() & found.keys():
            found[name] = ",".join(value for other, value in sent if other == name)
        return asked.model_validate(found)
    except ValidationError as error:
        raise _refused(error, "query") from error


async def answer_refused(_: Request, error: Exception) -> Response:
    """Answer a request that asks what it may not: each field and why. What was sent is left out: not all of it is JSON."""
    wrong = error.errors() if isinstance(error, RequestValidationError) else []
    return JSONResponse({"detail": [_told(one) for one in wrong]}, 422)


def _told(error: Mapping[str, Any]) -> dict[str, Any]:
    told = {"type": error["type"], "loc": [_encodable(part) for part in error["loc"]], "msg": _encodable(error["msg"])}
    context = {name: _encodable(value) for name, value in error.get("ctx", {}).items()}
    return told | ({"ctx": context} if context else {})


def _encodable(value: Any) -> Any:
    return value if isinstance(value, int | float) else str(value).encode(errors="replace").decode()


def _refused(error: ValidationError, *place: str) -> RequestValidationError:
    return RequestValidationError([{**one, "loc": (*place, *one["loc"])} for one in error.errors(include_url=False)])


def _described(asked: type[Wishes], ids: list[str]) -> dict[str, Any]:
    """Return the part of a route's description that says what its path and its address may hold."""
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {**_IDS[name].json_schema(), "title": _title(name)}}
        for name in ids
    ]
    in_query = [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": schema["description"]}
        for name, schema in asked.model_json_schema()["properties"].items()
    ]
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}
    return {
        "parameters": in_path + in_query,
        "responses": {"422": {"description": "Validation Error", "content": refused}},
    }


def _title(name: str) -> str:
    return name.replace("_", " ").title()
