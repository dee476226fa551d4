"""The status page and the views of one person and one item, rendered here: no build, no script needed to read them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from importlib.resources import files
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, select_autoescape

from afterclick.errors import ModelNotFoundError, StoreUnavailableError
from afterclick.list_records import TopList
from afterclick.pseudonyms import RawId
from afterclick.recommender import Explained
from afterclick.serving.item_view import read_item
from afterclick.serving.list_reader import ListReader
from afterclick.serving.model_age import trained_at
from afterclick.serving.scraping import Scraper
from afterclick.serving.seen_memory import PersonRead
from afterclick.serving.status_chart import draw
from afterclick.serving.status_figures import PROMISE_SECONDS, summarise
from afterclick.settings import Settings

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FILES = {"status.css": "text/css", "status.js": "text/javascript"}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
Kind = Literal["user", "anonymous"]


def add_status(
    app: FastAPI, settings: Settings, reader: ListReader, own_metrics: Callable[[], str], needs_key: Sequence[Any]
) -> None:
    """Add ``/status`` where ``serving.status_page`` is set.

    Parameters
    ----------
    needs_key
        Dependencies of routes about people; without any these answer callers on this machine only.
    """
    if not settings.serving.status_page:
        return
    scraper = Scraper(settings, own_metrics)
    pages = Environment(loader=PackageLoader("afterclick.serving", "pages"), autoescape=select_autoescape())
    pages.filters["seconds"] = show_seconds
    _run_with(app, scraper)

    def render(name: str, **values: Any) -> Response:
        return HTMLResponse(pages.get_template(name).render(**values), headers=_HEADERS)

    def live() -> dict[str, Any]:
        history = list(scraper.history) or [scraper.read()]
        figures = summarise(history)
        chart = draw(figures.freshness, PROMISE_SECONDS)
        return {"figures": figures, "chart": chart, "promise": PROMISE_SECONDS, **_model(reader)}

    @app.get("/status", include_in_schema=False)
    def status() -> Response:
        return render("status.html", **live())

    @app.get("/status/figures", include_in_schema=False)
    def figures() -> Response:
        return render("figures.html", **live())

    @app.get("/status/files/{name}", include_in_schema=False)
    def file(name: str) -> Response:
        if name not in _FILES:
            raise HTTPException(404)
        text = files("afterclick.serving").joinpath("pages", name).read_text(encoding="utf-8")
        return Response(text, media_type=_FILES[name], headers=_HEADERS)

    _add_people(app, reader, render, list(needs_key) or [Depends(_only_this_machine)])


def _add_people(app: FastAPI, reader: ListReader, render: Callable[..., Response], guards: list[Any]) -> None:
    @app.get("/status/person", include_in_schema=False, dependencies=guards)
    async def person(user_id: Annotated[str, Query(max_length=512)] = "", kind: Kind = "user") -> Response:
        return render("person.html", user_id=user_id, kind=kind, **await _person(reader, user_id, kind))

    @app.get("/status/item", include_in_schema=False, dependencies=guards)
    async def item(item_id: Annotated[str, Query(max_length=256)] = "") -> Response:
        return render("item.html", item_id=item_id, **await _item(reader, item_id))


async def _item(reader: ListReader, item_id: str) -> dict[str, Any]:
    try:
        return {"problem": None, "item": await read_item(reader, item_id) if item_id else None}
    except (ModelNotFoundError, StoreUnavailableError) as error:
        return {"problem": str(error), "item": None}


async def _person(reader: ListReader, user_id: str, kind: Kind) -> dict[str, Any]:
    """Return a person's list of now, why it has its items, and the one everybody gets: what their events changed."""
    try:
        popular = reader.popular()
    except ModelNotFoundError as error:
        return {"problem": str(error), "top": None}
    now_ms, identifier = int(time.time() * 1000), RawId(kind, user_id)
    read = await reader.read_person(identifier, now_ms=now_ms, with_history=True) if user_id else PersonRead()
    if read.is_store_away:
        return {"problem": "Redis or the subject store does not answer", "top": None}
    try:  # all of it is shown: damage in a record shows when its places are looked at
        top = msgspec.structs.replace(read.top, items=list(read.top.items)) if read.top else None
    except StoreUnavailableError as error:
        return {"problem": str(error), "top": None}
    places = {item.item_id: place for place, item in enumerate(popular.items, 1)}
    times = {
        "fresh_as_of": _time(top.fresh_as_of_ms) if top else None,
        "generated_at": _time(top.generated_at_ms) if top else None,
    }
    explained = await asyncio.to_thread(_explained, reader, read, top, now_ms) if top else {}
    return {"problem": None, "top": top, "places": places, "explained": explained, **times}


def _explained(reader: ListReader, read: PersonRead, top: TopList, now_ms: int) -> dict[str, Explained]:
    side = reader.models.comparison.side_of(read.subject_id or "")
    recommender = reader.models.recommender_of(top.model_version, side)
    if recommender is None or read.history is None:
        return {}
    return recommender.explain(read.history.records, {item.item_id: item.reason for item in top.items}, now_ms=now_ms)


def _only_this_machine(request: Request) -> None:
    """Refuse callers from elsewhere, and pages from elsewhere that a browser here was led to (DNS rebinding)."""
    caller = request.client.host if request.client else ""
    if caller not in _LOOPBACK or (request.url.hostname or "") not in _LOOPBACK:
        told = "people are shown on this machine only; set serving.require_key to open it to holders of a key"
        raise HTTPException(403, told)


def _model(reader: ListReader) -> dict[str, Any]:
    try:
        version = reader.popular().model_version
    except ModelNotFoundError:
        return {"version": None, "age": None}
    trained = trained_at(version)
    return {"version": version, "age": (datetime.now(UTC) - trained).total_seconds() if trained else None}


def _run_with(app: FastAPI, scraper: Scraper) -> None:
    """Read while the application runs."""
    whole = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(started: FastAPI) -> AsyncIterator[Any]:
        async with whole(started) as state:
            reading = asyncio.create_task(scraper.keep_reading())
            yield state
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    app.router.lifespan_context = lifespan


def show_seconds(seconds: float | None) -> str:
    """Write a time with the unit that reads best."""
    if seconds is None:
        return "–"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds * 1000:.0f} ms" if seconds < 2 else f"{seconds:.1f} s"  # noqa: PLR2004


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
