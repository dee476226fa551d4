"""Requests that come most are answered before FastAPI looks for who answers them; for both HTTP services."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class Answered(NamedTuple):
    """Who answers a path; a path that ends with ``/`` stands for all with one more name, the parameter `name`."""

    endpoint: Endpoint
    name: str | None = None


class AnsweredFirst:
    """ASGI middleware: answers the requests of one method that have a known path by their endpoint.

    FastAPI looks at each request for its route and for what the endpoint may want, which takes it longer than asking
    Redis takes. Everything else is FastAPI's.

    Parameters
    ----------
    answered
        By path; the same endpoints are FastAPI's routes.
    checks
        What is awaited with the request before each endpoint: the dependencies of those routes.
    refusals
        After these errors the request goes the long way as if nobody had looked at it, and FastAPI answers the error;
        for requests without a body only.
    """

    def __init__(
        self,
        app: ASGIApp,
        method: str,
        answered: Mapping[str, Answered],
        checks: Sequence[Callable[[Request], Awaitable[None]]] = (),
        refusals: tuple[type[Exception], ...] = (),
    ) -> None:
        self._app = app
        self._method = method
        self._answered = answered
        self._checks = checks
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_ours = scope["type"] == "http" and scope["method"] == self._method and not scope.get("root_path")
        response = await self._answer(scope, receive) if is_ours else None
        await (response or self._app)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        path: str = scope["path"]
        begin, slash, last = path.rpartition("/")
        found = self._answered.get(path) or self._answered.get(begin + slash)
        if found is None or (found.name and not last):
            return None
        parameters: dict[str, Any] = {found.name: last} if found.name else {}
        request = Request({**scope, "path_params": parameters}, receive)
        try:
            for check in self._checks:
                await check(request)
            return await found.endpoint(request)
        except self._refusals:
            return None
