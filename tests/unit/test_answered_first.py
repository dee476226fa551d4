"""What is answered before FastAPI looks at it, and what is still FastAPI's."""

from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse, Response
from fastapi.testclient import TestClient

from afterclick.answered_first import Answered, AnsweredFirst


class RefusedError(Exception):
    """Raised for a name that is refused."""


def client(**options: Any) -> TestClient:
    """Return an application that says who answered."""
    app = FastAPI()

    @app.get("/of/{name}")
    async def routed(name: str) -> Response:
        if name == "refused":
            raise HTTPException(418, "refused")
        return PlainTextResponse(f"routed {name}")

    async def first(request: Request) -> Response:
        name = request.path_params.get("name", "nobody")
        if name == "refused":
            raise RefusedError
        return PlainTextResponse(f"first {name} {request.url.query}")

    answered = {"/of/": Answered(first, "name"), "/of/all": Answered(first)}
    app.add_middleware(AnsweredFirst, "GET", answered, **options)
    return TestClient(app, raise_server_exceptions=False, root_path="")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/of/one?n=2", "first one n=2"),
        ("/of/a%20b", "first a b "),
        ("/of/all", "first nobody "),
    ],
)
def test_a_known_path_is_answered_by_its_endpoint_with_its_name_and_query(path: str, answer: str) -> None:
    assert client().get(path).text == answer


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/of/a/b", 404), ("GET", "/of/", 404), ("POST", "/of/one", 405)]
)
def test_other_paths_and_methods_are_answered_by_fastapi(method: str, path: str, status: int) -> None:
    assert client().request(method, path).status_code == status


def test_an_application_below_another_path_is_answered_by_fastapi() -> None:
    inner = client()

    assert TestClient(inner.app, root_path="/api").get("/api/of/one").text == "routed one"


def test_a_refusal_goes_the_long_way_only_where_it_is_named() -> None:
    assert client(refusals=(RefusedError,)).get("/of/refused").status_code == 418
    assert client().get("/of/refused").status_code == 500


def test_a_check_that_refuses_is_asked_before_the_endpoint() -> None:
    async def check(request: Request) -> None:
        if "key" not in request.query_params:
            raise RefusedError

    guarded = client(checks=[check], refusals=(RefusedError,))

    assert guarded.get("/of/one").text == "routed one"
    assert guarded.get("/of/one?key=1").text == "first one key=1"
