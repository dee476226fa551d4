"""Lists that are computed when asked for: anonymous sessions and similar items; a batch of people. Nothing is stored."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from afterclick.errors import StoreUnavailableError
from afterclick.pseudonyms import RawId
from afterclick.recommender import session_records
from afterclick.serving.answers import Hidden, Recommendations, build_answer, seen_keys, with_carriers
from afterclick.serving.list_reader import ListReader

ItemId = Annotated[str, Field(min_length=1, max_length=256)]


class SessionRequest(BaseModel):
    """An anonymous session: its items, oldest first."""

    model_config = ConfigDict(extra="forbid")

    items: list[ItemId] = Field(max_length=200)
    n: int = Field(default=10, ge=1, le=500)
    exclude: list[ItemId] = Field(default_factory=list, max_length=1000)
    exclude_seen: bool = False
    explain: bool = False
    placement: str | None = Field(default=None, max_length=64)


class BatchRequest(BaseModel):
    """Several people at once."""

    model_config = ConfigDict(extra="forbid")

    users: list[Annotated[str, Field(min_length=1, max_length=512)]] = Field(min_length=1, max_length=100)
    kind: Literal["user", "anonymous"] = "user"
    n: int = Field(default=10, ge=1, le=500)
    exclude_seen: bool = False


def add_session_lists(
    app: FastAPI,
    reader: ListReader,
    clock: Callable[[], datetime],
    *,
    dependencies: Sequence[Any],
    responses: dict[int | str, dict[str, Any]],
) -> None:
    """Add the endpoints."""

    def now_ms() -> int:
        return int(clock().timestamp() * 1000)

    @app.post(
        "/v1/recommendations", summary="An anonymous session's list", dependencies=dependencies, responses=responses
    )
    async def session(request: SessionRequest) -> Recommendations:
        popular, recommender = reader.popular(), reader.models.recommender
        top = await asyncio.to_thread(recommender.session_list, request.items, now_ms()) if recommender else None
        seen = frozenset(request.items) if request.exclude_seen else frozenset()
        answer = build_answer(
            top,
            popular,
            n=request.n,
            hidden=Hidden(frozenset(request.exclude) | seen, reader.withdrawn),
            fallback=reader.models.by_popularity,
            explain=request.explain,
            now_ms=now_ms(),
            placement=request.placement,
        )
        if not (request.explain and recommender):
            return answer
        listed = [item.item_id for item in answer.items]
        return with_carriers(answer, recommender.carriers(session_records(request.items), listed))

    @app.post(
        "/v1/recommendations/batch", summary="Several people's lists", dependencies=dependencies, responses=responses
    )
    async def batch(request: BatchRequest) -> dict[str, Recommendations]:
        popular = reader.popular()

        async def one(user: str) -> Recommendations:
            try:
                top, history = await reader.read_person(RawId(request.kind, user), with_history=request.exclude_seen)
            except StoreUnavailableError:
                top, history = None, None
            hidden = Hidden(withdrawn=reader.withdrawn, seen=seen_keys(history))
            fallback = reader.models.by_popularity
            return build_answer(
                top, popular, n=request.n, hidden=hidden, fallback=fallback, explain=False, now_ms=now_ms()
            )

        users = list(dict.fromkeys(request.users))
        return dict(zip(users, await asyncio.gather(*map(one, users)), strict=True))

    _add_similar(app, reader, now_ms, dependencies=dependencies, responses=responses)


def _add_similar(
    app: FastAPI,
    reader: ListReader,
    now_ms: Callable[[], int],
    *,
    dependencies: Sequence[Any],
    responses: dict[int | str, dict[str, Any]],
) -> None:
    @app.get("/v1/similar/{item_id}", summary="Items like one", dependencies=dependencies, responses=responses)
    async def similar(
        item_id: Annotated[str, Path(min_length=1, max_length=256)], n: Annotated[int, Query(ge=1, le=500)] = 10
    ) -> Recommendations:
        recommender = reader.models.recommender
        wanted = n + len(reader.withdrawn)
        top = await asyncio.to_thread(recommender.similar, item_id, wanted, now_ms()) if recommender else None
        return build_answer(
            top,
            reader.popular(),
            n=n,
            hidden=Hidden(frozenset({item_id}), reader.withdrawn),
            fallback=reader.models.by_popularity,
            explain=False,
            now_ms=now_ms(),
        )
