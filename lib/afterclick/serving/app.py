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
from pydantic import BaseModel

from afterclick.access_keys import Scope
from afterclick.connectors.redis_store import ListedItem, TopList
from afterclick.errors import ModelNotFoundError, StoreUnavailableError
from afterclick.http_keys import keep_fresh, open_keys, require_key
from afterclick.pseudonyms import RawId
from afterclick.serving.list_reader import ListReader
from afterclick.settings import Settings

logger = logging.getLogger(__name__)
_ANSWERS: dict[int | str, dict[str, Any]] = {
    401: {"description": "A key with the scope read is needed (serving.require_key)"},
    503: {"description": "No model and no popular list yet: come back after Retry-After seconds"},
}
Kind = Literal["user", "anonymous"]


class RankedItem(BaseModel):
    """One place of the list."""

    rank: int
    item_id: str
    score: float
    """Comparable inside one list only."""
    reason: str
    """``because_you_interacted``, ``popular``, or the kind of the trigger that put it in front."""
    because: str | None = None
    """With ``explain``: the past item that brought most of the score."""
    share: float | None = None
    """With ``explain``: its share of the score, 0-1."""


class Recommendations(BaseModel):
    """One answer, all of one model version."""

    source: str
    """``fold_in``: personal; ``popular``: nothing is known of this person, or the store is away."""
    model_version: str
    fresh_as_of: str | None
    """Every event received up to this time is in the list; null without personal events."""
    generated_at: str
    trigger: str | None = None
    """The trigger rule that changed the list since the person's last event, if any."""
    items: list[RankedItem]


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
    keys = open_keys(settings, (), clock())
    needs_key = [Depends(require_key(keys, Scope.READ, clock))] if settings.serving.require_key else []

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
    _add_operations(app, reader, metrics)
    return app


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
        user_id: Annotated[str, Path(min_length=1, max_length=512)],
        n: Annotated[int, Query(ge=1, le=500, description="Items wanted.")] = 10,
        exclude: Annotated[str, Query(description="Item ids to leave out, comma-separated.")] = "",
        explain: Annotated[bool, Query(description="Add because and share.")] = False,
        kind: Annotated[Kind, Query(description="Which id this is.")] = "user",
    ) -> Recommendations:
        begun = time.perf_counter()
        popular = reader.popular()
        try:
            personal = await reader.read_list(RawId(kind, user_id))
        except StoreUnavailableError as error:
            metrics.errors.inc()
            logger.warning("served without the store: %s", error)
            personal = None
        now_ms = int(clock().timestamp() * 1000)
        answer = build_answer(personal, popular, n=n, excluded=_split(exclude), explain=explain, now_ms=now_ms)
        metrics.lists.labels(answer.source).inc()
        metrics.seconds.observe(time.perf_counter() - begun)
        return answer

    @app.get("/v1/popular", summary="The list for everybody", dependencies=needs_key, responses=_ANSWERS)
    async def popular_items(n: Annotated[int, Query(ge=1, le=500)] = 10, exclude: str = "") -> Recommendations:
        now_ms = int(clock().timestamp() * 1000)
        return build_answer(None, reader.popular(), n=n, excluded=_split(exclude), explain=False, now_ms=now_ms)


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


def build_answer(
    personal: TopList | None, popular: TopList, *, n: int, excluded: frozenset[str], explain: bool, now_ms: int
) -> Recommendations:
    """Return up to `n` items: the person's, then popular ones where theirs do not suffice."""
    top = personal or popular
    chosen = [item for item in top.items if item.item_id not in excluded][:n]
    have = {item.item_id for item in chosen} | excluded
    chosen += [item for item in popular.items if item.item_id not in have][: n - len(chosen)]
    return Recommendations(
        source=top.source,
        model_version=top.model_version,
        fresh_as_of=_iso(top.fresh_as_of_ms) if top.fresh_as_of_ms else None,
        generated_at=_iso(top.generated_at_ms if personal else now_ms),
        trigger=top.trigger,
        items=[_ranked(rank, item, explain=explain) for rank, item in enumerate(chosen, 1)],
    )


def _ranked(rank: int, item: ListedItem, *, explain: bool) -> RankedItem:
    answer = RankedItem(rank=rank, item_id=item.item_id, score=item.score, reason=item.reason)
    return answer.model_copy(update={"because": item.because, "share": item.share}) if explain else answer


def _split(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
