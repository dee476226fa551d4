"""The recommendation API's HTTP side. Unknown person, cold person, Redis down: 200 with a list and its source."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Path, Query
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

from afterclick.access_keys import KeyRing, Scope
from afterclick.errors import ModelNotFoundError, SettingsError, StoreUnavailableError
from afterclick.http_keys import keep_fresh, open_keys, require_key
from afterclick.pseudonyms import RawId
from afterclick.request_ids import RequestIds
from afterclick.serving.answers import Hidden, Recommendations, build_answer, seen_keys, with_carriers
from afterclick.serving.list_reader import ListReader
from afterclick.serving.model_age import ModelAge
from afterclick.serving.session_lists import add_session_lists
from afterclick.serving.status_page import add_status
from afterclick.settings import Settings

logger = logging.getLogger(__name__)
_ANSWERS: dict[int | str, dict[str, Any]] = {
    401: {"description": "A key with the scope read is needed (serving.require_key)"},
    503: {"description": "No model and no popular list yet: come back after Retry-After seconds"},
}
Kind = Literal["user", "anonymous"]


class Metrics:
    """What Prometheus reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lists = Counter("afterclick_serving_lists", "Lists served by source.", ["source"], registry=self.registry)
        self.errors = Counter("afterclick_serving_store_errors", "Requests without the store.", registry=self.registry)
        self.seconds = Histogram("afterclick_serving_request_seconds", "Time to answer.", registry=self.registry)


def create_app(settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> FastAPI:
    """Return the application."""
    reader = ListReader(settings)
    metrics = Metrics()
    metrics.registry.register(ModelAge(lambda: reader.popular().model_version))
    keys = open_keys(settings, (), clock())
    needs_key = _key_dependencies(settings, keys, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await reader.refresh_popular()
        tasks = [
            asyncio.create_task(reader.keep_fresh()),
            asyncio.create_task(keep_fresh(keys, settings.keys.refresh_seconds)),
        ]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await reader.close()
        keys.close()

    app = FastAPI(title="Afterclick recommendations", version="1", lifespan=lifespan, redoc_url=None)

    @app.exception_handler(ModelNotFoundError)
    async def no_model(_: object, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 503, headers={"Retry-After": "5"})

    _add_lists(app, reader, metrics, clock, needs_key)
    add_session_lists(app, reader, clock, dependencies=needs_key, responses=_ANSWERS)
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


def _add_lists(
    app: FastAPI, reader: ListReader, metrics: Metrics, clock: Callable[[], datetime], needs_key: Sequence[Any]
) -> None:
    @app.get(
        "/v1/recommendations/{user_id}",
        summary="One person's list",
        response_model_exclude_none=False,
        dependencies=needs_key,
        responses=_ANSWERS,
    )
    async def recommendations(
        *,
        user_id: Annotated[str, Path(min_length=1, max_length=512)],
        n: Annotated[int, Query(ge=1, le=500, description="Items wanted.")] = 10,
        exclude: Annotated[str, Query(description="Item ids to leave out, comma-separated.")] = "",
        explain: Annotated[bool, Query(description="Add because and share.")] = False,
        kind: Annotated[Kind, Query(description="Which id this is.")] = "user",
        exclude_seen: Annotated[bool, Query(description="Leave out what the person had.")] = False,
        placement: Annotated[str | None, Query(max_length=64, description="Where it is shown; given back.")] = None,
    ) -> Recommendations:
        begun = time.perf_counter()
        try:
            asked = RawId(kind, user_id)
            personal, history = await reader.read_person(asked, with_history=exclude_seen or explain)
        except StoreUnavailableError as error:
            metrics.errors.inc()
            logger.warning("served without the store: %s", error)
            personal, history = None, None
        popular, now_ms = reader.popular(personal.model_version if personal else None), int(clock().timestamp() * 1000)
        answer = build_answer(
            personal,
            popular,
            n=n,
            hidden=Hidden(_split(exclude), reader.withdrawn, seen_keys(history) if exclude_seen else frozenset()),
            fallback=reader.models.ids_of(popular.model_version),
            explain=explain,
            now_ms=now_ms,
            placement=placement,
        )
        recommender = reader.models.recommender
        if explain and history and recommender and recommender.model.version == answer.model_version:
            listed = [item.item_id for item in answer.items]
            answer = with_carriers(answer, recommender.carriers(history.records, listed, now_ms=now_ms))
        metrics.lists.labels(answer.source).inc()
        metrics.seconds.observe(time.perf_counter() - begun)
        return answer

    @app.get("/v1/popular", summary="The list for everybody", dependencies=needs_key, responses=_ANSWERS)
    async def popular_items(n: Annotated[int, Query(ge=1, le=500)] = 10, exclude: str = "") -> Recommendations:
        now_ms = int(clock().timestamp() * 1000)
        hidden = Hidden(_split(exclude), reader.withdrawn)
        fallback = reader.models.by_popularity
        return build_answer(None, reader.popular(), n=n, hidden=hidden, fallback=fallback, explain=False, now_ms=now_ms)


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


def _split(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())
