"""Lists that are computed when asked for: anonymous sessions and similar items; a batch of people. Nothing is stored."""

import asyncio
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from afterclick.models import item_keys
from afterclick.pseudonyms import RawId
from afterclick.recommender import session_records
from afterclick.serving.answers import Recommendations, as_response
from afterclick.serving.list_maker import ListMaker
from afterclick.serving.list_routes import ListRoutes, read_id, read_query
from afterclick.serving.seen_memory import PersonRead
from afterclick.serving.wishes import BatchRequest, PopularQuery, SessionRequest, named


def add_session_lists(app: FastAPI, routes: ListRoutes, maker: ListMaker) -> None:
    """Add the endpoints."""

    @app.post(
        "/v1/recommendations",
        summary="An anonymous session's list",
        response_model=Recommendations,
        dependencies=routes.dependencies,
        responses=routes.responses,
    )
    async def session(request: SessionRequest) -> Response:
        recommender = maker.reader.models.recommender
        top = await asyncio.to_thread(recommender.session_list, request.items, maker.now_ms()) if recommender else None
        read = PersonRead(seen=frozenset(item_keys(request.items).tolist()))
        answer = maker.make(top, request, exclude=request.exclude, pin=named(request.pin), read=read)
        return as_response(maker.explained(answer, session_records(request.items)) if request.explain else answer)

    @app.post(
        "/v1/recommendations/batch",
        summary="Several people's lists",
        response_model=dict[str, Recommendations],
        dependencies=routes.dependencies,
        responses=routes.responses,
    )
    async def batch(request: BatchRequest) -> Response:
        def one(user: str) -> Any:
            return maker.for_person(RawId(request.kind, user), request, tuple(request.exclude), named(request.pin))

        users = list(dict.fromkeys(request.users))
        return as_response(dict(zip(users, await asyncio.gather(*map(one, users)), strict=True)))

    async def similar(request: Request) -> Response:
        item_id, query = read_id(request, "item_id"), read_query(PopularQuery, request)
        exclude = (item_id, *named(query.exclude))
        recommender = maker.reader.models.recommender
        top = None
        if recommender:
            wanted, among = maker.looked_at(query, exclude)
            top = await asyncio.to_thread(recommender.similar, item_id, wanted, maker.now_ms(), among=among)
        return as_response(maker.make(top, query, exclude=exclude, pin=named(query.pin)))

    routes.add("/v1/similar/{item_id}", similar, PopularQuery, summary="Items like one")
