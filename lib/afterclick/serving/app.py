"""The recommendation API's HTTP side. Unknown person, cold person, Redis down: 200 with a list and its source."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from afterclick.access_keys import KeyRing, Scope
from afterclick.background_tasks import for_ever, in_background
from afterclick.errors import ModelNotFoundError, SettingsError
from afterclick.http_keys import keep_fresh, open_keys, require_key
from afterclick.pseudonyms import RawId
from afterclick.request_ids import RequestIds
from afterclick.serving.answers import as_response
from afterclick.serving.list_maker import ListMaker
from afterclick.serving.list_reader import ListReader
from afterclick.serving.list_routes import ListRoutes, answer_refused, read_id, read_query
from afterclick.serving.metrics import Metrics
from afterclick.serving.model_age import ModelAge
from afterclick.serving.session_lists import add_session_lists
from afterclick.serving.shown_log import ShownLog
from afterclick.serving.status_page import add_status
from afterclick.serving.wishes import PersonQuery, PopularQuery, named
from afterclick.settings import Settings

_ANSWERS: dict[int | str, dict[str, Any]] = {
    401: {"description": "A key with the scope read is needed (serving.require_key)"},
    503: {"description": "No model and no popular list yet: come back after Retry-After seconds"},
}


def create_app(settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> FastAPI:
    """Return the application."""
    reader = ListReader(settings)
    metrics = Metrics()
    metrics.registry.register(ModelAge(lambda: reader.popular().model_version))
    keys = open_keys(settings, (), clock())
    log = ShownLog(settings.kafka, settings.serving, metrics) if settings.serving.log_shown else None
    maker = ListMaker(reader, settings, clock, metrics, log)
    needs_key = _key_dependencies(settings, keys, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await reader.refresh_popular()
        again = settings.keys.refresh_seconds
        work = [*reader.keep_fresh(), for_ever(partial(keep_fresh, keys, again), again, "reading the keys anew")]
        async with in_background(*work, *([log.keep_sending()] if log else [])):
            yield
        if log:
            await asyncio.to_thread(log.close)
        await reader.close()
        keys.close()

    app = FastAPI(title="Afterclick recommendations", version="1", lifespan=lifespan, redoc_url=None)

    @app.exception_handler(ModelNotFoundError)
    async def no_model(_: object, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 503, headers={"Retry-After": "5"})

    app.add_exception_handler(RequestValidationError, answer_refused)
    routes = ListRoutes(app, needs_key, _ANSWERS)
    _add_lists(routes, maker)
    add_session_lists(app, routes, maker)
    _add_operations(app, reader, metrics)
    add_status(app, settings, reader, lambda: generate_latest(metrics.registry).decode(), needs_key)
    app.add_middleware(RequestIds)
    return app


def _key_dependencies(settings: Settings, keys: KeyRing, clock: Callable[[], datetime]) -> list[Any]:
    if not settings.serving.require_key:
        return []
    if settings.keys.url is None:
        message = (
            "serving.require_key is set, but there is no key store, so nobody could ask: set AFTERCLICK_KEYS__URL to its "
            "database, or serving.require_key to false"
        )
        raise SettingsError(message)
    return [Depends(require_key(keys, Scope.READ, clock))]


def _add_lists(routes: ListRoutes, maker: ListMaker) -> None:
    async def recommendations(request: Request) -> Response:
        user_id, query = read_id(request, "user_id"), read_query(PersonQuery, request)
        person, exclude, pin = RawId(query.kind, user_id), named(query.exclude), named(query.pin)
        return as_response(await maker.for_person(person, query, exclude, pin))

    async def popular_items(request: Request) -> Response:
        query = read_query(PopularQuery, request)
        return as_response(maker.make(None, query, exclude=named(query.exclude), pin=named(query.pin)))

    routes.add("/v1/recommendations/{user_id}", recommendations, PersonQuery, summary="One person's list")
    routes.add("/v1/popular", popular_items, PopularQuery, summary="The list for everybody")


def _add_operations(app: FastAPI, reader: ListReader, metrics: Metrics) -> None:
    @app.get("/health/live", summary="Is the process up?")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", summary="Is there a list to give?", responses=_ANSWERS)
    async def ready() -> dict[str, str]:
        return {"status": "ready", "model_version": reader.popular().model_version}

    @app.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
