"""Routes that answer a GET with a list: what each may be asked is told once, and read without FastAPI's search for it."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import Field, TypeAdapter, ValidationError

from afterclick.serving.answers import Recommendations
from afterclick.serving.wishes import Wishes

_Asked = TypeVar("_Asked", bound=Wishes)
_IDS = {
    "user_id": TypeAdapter(Annotated[str, Field(min_length=1, max_length=512)]),
    "item_id": TypeAdapter(Annotated[str, Field(min_length=1, max_length=256)]),
}
"""What a path may hold."""


class DirectRoute(APIRoute):
    """A route whose endpoint needs nothing but the request, and is called with it.

    FastAPI looks at each request for the parameters, headers and cookies that an endpoint may want: for a list that
    takes longer than to ask Redis. Where the route has dependencies it still does.

    References
    ----------
    FastAPI's documentation, "Custom Request and APIRoute class".
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        return super().get_route_handler() if self.dependencies else self.endpoint


def add_list_route(
    app: FastAPI,
    path: str,
    endpoint: Callable[[Request], Awaitable[Response]],
    asked: type[Wishes],
    *,
    summary: str,
    dependencies: Sequence[Any],
    responses: dict[int | str, dict[str, Any]],
) -> None:
    """Add a route that answers with `Recommendations`; `asked` is what its address may ask, read by `read_query`."""
    app.router.add_api_route(
        path,
        endpoint,
        methods=["GET"],
        summary=summary,
        response_model=Recommendations,
        dependencies=dependencies,
        responses=responses,
        openapi_extra=_described(asked, [name for name in _IDS if f"{{{name}}}" in path]),
        route_class_override=DirectRoute,
    )


def read_id(request: Request, name: str) -> str:
    """Return an id of the path; errors are answered as FastAPI's own."""
    try:
        return _IDS[name].validate_python(request.path_params[name])
    except ValidationError as error:
        raise _refused(error, "path", name) from error


def read_query(asked: type[_Asked], request: Request) -> _Asked:
    """Return what a request's address asks; errors likewise."""
    try:
        return asked.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise _refused(error, "query") from error


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
