"""Whatever is asked of the real API on real Valkey: never an empty list, a withdrawn item, or one the person had.

Worlds of random catalogues, people and withdrawn items; random requests to every route of the application, in process;
Valkey stopped and its connections cut in between: 1,500 requests, 100,000 in `make nightly`.
"""

import asyncio
import json
import logging
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pyarrow as pa
import pytest
from fastapi import FastAPI

from afterclick.connectors import redis_store
from afterclick.connectors.catalogue_store import ServedCatalogue, write_catalogue
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.subject_store import open_subject_store
from afterclick.connectors.withdrawn_items import WithdrawnItems
from afterclick.consent_rules import Claim
from afterclick.local.processes import free_port, running_pid, stop_process
from afterclick.local.valkey import start_valkey
from afterclick.models import save_model
from afterclick.pseudonyms import RawId
from afterclick.recommendations import update_lists
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving.app import create_app
from afterclick.settings import Settings, load_settings
from builders import make_model, make_sources
from conftest import installation_variables
from suspended import resume, suspend

REQUESTS = 100_000 if os.environ.get("AFTERCLICK_NIGHTLY") == "1" else 1_500  # noqa: TID251
PER_WORLD = 2_500
PEOPLE = [f"person-{number}" for number in range(30)]
CATEGORIES = ("mugs", "bowls", "tea", "rare")
pytestmark = pytest.mark.timeout(3600)


@dataclass
class World:
    """What is true, told by the test and not by the API: items, categories, what is withdrawn or out of stock, who had what."""

    version: str
    items: list[str]
    category_of: dict[str, str]
    withdrawn: set[str]
    had: dict[str, set[str]]
    was_read: set[str] = field(default_factory=set)
    """People whose past the API has read, so that it knows it through an outage."""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Settings]:
    """Return settings of a Valkey of this test's own; the API finds back to it within milliseconds."""
    port = free_port()
    start_valkey(tmp_path, port=port)
    placements = {"home": {"pinned": ["item-1"], "blocked": ["item-2"], "per_category": 3, "explore": 0.5}}
    variables = installation_variables(
        tmp_path / "state",
        AFTERCLICK_REDIS__URL=f"redis://127.0.0.1:{port}/0",
        AFTERCLICK_REDIS__TIMEOUT_SECONDS="0.1",
        AFTERCLICK_SERVING__BREAKER_OPEN_SECONDS="0.05",
        AFTERCLICK_SERVING__POPULAR_REFRESH_SECONDS="0.1",
        AFTERCLICK_SERVING__PLACEMENTS=json.dumps(placements),
        AFTERCLICK_RECOMMENDATIONS__LIST_SIZE="12",
    )
    yield load_settings("local", variables=variables)
    resume(pid_of(tmp_path))
    stop_process(tmp_path, "valkey")


def pid_of(folder: Path) -> int:
    pid = running_pid(folder, "valkey")
    assert pid
    return pid


def build_world(settings: Settings, draw: random.Random, number: int) -> World:
    """Write a model, everybody's list and past, the catalogue and what is withdrawn."""
    version, size = f"v{number}", draw.randint(15, 80)
    items = [f"item-{place}" for place in range(size)]
    save_model(
        make_model(items=size, seed=number, version=version, sources=make_sources(items=size)),
        model_folder(settings, version),
    )
    recommender, store = read_recommender(settings, version), redis_store.connect(settings.redis)
    store.client.flushall()
    store.switch_version(version)
    store.write_popular(recommender.popular(1))
    category_of = {item: draw.choice(CATEGORIES[:3]) for item in items if draw.random() < 0.9}
    category_of[items[-1]] = "rare"
    out_of_stock = frozenset(draw.sample(items, draw.randint(0, 3)))
    write_catalogue(store, ServedCatalogue(category_of, out_of_stock))
    had: dict[str, set[str]] = {}
    for person in PEOPLE[:20]:  # the others are unknown
        subject = open_subject_store(settings).admit([Claim(RawId("user", person), {"personalisation": True}, 1)])[0]
        assert subject is not None
        seen = draw.sample(items, draw.randint(1, min(size - 8, 30)))
        table = pa.table(
            {
                "subject_id": [subject.subject_id] * len(seen),
                "item_id": seen,
                "event_type": ["view"] * len(seen),
                "event_ms": list(range(1, len(seen) + 1)),
                "received_ms": [1000] * len(seen),
            }
        )
        update_lists(table, recommender, store, length=200, fence=Fence(number, 1), now_ms=2000)
        had[person] = set(seen)
    withdrawn, kept = set(draw.sample(items, draw.randint(0, size // 2))), WithdrawnItems(settings)
    kept.restore(kept.read())
    kept.withdraw(sorted(withdrawn))
    return World(version, items, category_of, withdrawn | out_of_stock, had)


@dataclass
class Request:
    """One request and what it asks, for the judgement."""

    method: str
    path: str
    body: dict[str, Any] | None
    asked: dict[str, Any]
    people: list[str]
    session: list[str]


def draw_request(world: World, draw: random.Random) -> Request:
    asked: dict[str, Any] = {"n": draw.randint(1, 25)}
    maybe = {
        "category": draw.choice([*CATEGORIES, "nowhere"]),
        "per_category": draw.randint(1, 4),
        "placement": draw.choice(["home", "basket"]),
        "dry_run": True,
        "exclude_seen": True,
        "explain": True,
    }
    asked |= {name: value for name, value in maybe.items() if draw.random() < (0.6 if name == "exclude_seen" else 0.2)}
    lists = {
        "exclude": draw.sample(world.items, draw.randint(0, 5)),
        "pin": draw.sample(world.items, draw.randint(0, 3)),
    }
    asked |= {name: value for name, value in lists.items() if draw.random() < 0.3}
    route = draw.choices(["person", "session", "batch", "popular", "similar"], [6, 2, 1, 1, 1])[0]
    if route in {"popular", "similar"}:
        asked = {name: value for name, value in asked.items() if name not in {"exclude_seen", "explain"}}
    in_path = {name: ",".join(value) if isinstance(value, list) else value for name, value in asked.items()}
    query = urlencode({name: str(value).lower() if value is True else value for name, value in in_path.items()})
    if route == "person":
        person = draw.choice(PEOPLE)
        return Request("GET", f"/v1/recommendations/{quote(person)}?{query}", None, asked, [person], [])
    if route == "session":
        session = draw.sample(world.items, draw.randint(0, 5)) + ["from-elsewhere"] * draw.randint(0, 1)
        return Request("POST", "/v1/recommendations", {**asked, "items": session}, asked, [], session)
    if route == "batch":
        people = draw.sample(PEOPLE, 3)
        return Request("POST", "/v1/recommendations/batch", {**asked, "users": people}, asked, people, [])
    if route == "similar":
        item = draw.choice([*world.items, "from-elsewhere"])
        asked = {**asked, "exclude": [*asked.get("exclude", []), item]}
        return Request("GET", f"/v1/similar/{item}?{query}", None, asked, [], [])
    return Request("GET", f"/v1/popular?{query}", None, asked, [], [])


async def ask(app: FastAPI, request: Request) -> tuple[int, Any]:
    """Call the application as a server would."""
    path, _, query = request.path.partition("?")
    body = json.dumps(request.body).encode() if request.body is not None else b""
    status, parts = 0, []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"content-type", b"application/json")], "client": ("127.0.0.1", 1), "server": ("test", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    return status, json.loads(b"".join(parts))


def judge(world: World, request: Request, person: str | None, answer: dict[str, Any], *, is_away: bool) -> None:
    """Compare one answer with what is true; the message names the request."""
    asked, told = request.asked, f"{request.method} {request.path} {request.body} -> {answer}"
    listed = [item["item_id"] for item in answer["items"]]
    placed = asked.get("placement") == "home"
    barred = world.withdrawn | set(asked.get("exclude", ())) | ({"item-2"} if placed else set())
    if asked.get("exclude_seen"):
        had = world.had.get(person, set()) if person else set(request.session)
        if "exclude_seen" in answer["relaxed"]:
            assert is_away, told
            assert person not in world.was_read, told
        else:
            barred = barred | had
    assert not barred & set(listed), told
    assert len(listed) == len(set(listed)), told
    allowed = set(world.items) - barred
    pins = [item for item in (*asked.get("pin", ()), *(["item-1"] if placed else [])) if item not in barred]
    pins = list(dict.fromkeys(pins))[: asked["n"]]
    assert listed[: len(pins)] == pins, told
    may_follow = allowed - set(pins)
    if category := asked.get("category"):
        inside = {item for item in may_follow if world.category_of.get(item) == category}
        is_kept = bool(inside) or len(pins) == asked["n"]
        assert is_kept != ("category" in answer["relaxed"]), told
        may_follow = inside if is_kept else may_follow
    assert set(listed[len(pins) :]) <= may_follow, told
    assert len(listed) == min(asked["n"], len(pins) + len(may_follow)), told
    assert listed or not allowed, told
    if (cap := asked.get("per_category") or (3 if placed else None)) and "per_category" not in answer["relaxed"]:
        counts, pinned = (Counter(world.category_of.get(item) for item in part) for part in (listed, pins))
        assert not [name for name, count in counts.items() if name and count > max(cap, pinned[name])], told


class Misses(logging.Handler):
    """Counts what the API says it served without the store: on a busy machine Valkey may be late though it runs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count."""
        self.count += record.getMessage().startswith("served without the store")


@pytest.fixture
def misses() -> Iterator[Misses]:
    handler, logger = Misses(), logging.getLogger("afterclick.serving.list_reader")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


async def drive(  # noqa: PLR0917 - a test's helper
    settings: Settings, world: World, draw: random.Random, count: int, valkey: int, misses: Misses
) -> dict[str, int]:
    """Send `count` requests; about a tenth of them while Valkey does not answer."""
    figures = dict.fromkeys(("requests", "away", "relaxed_seen", "personal"), 0)
    async with running(settings) as app:
        is_away, until = False, draw.randint(10, 40)
        for number in range(count):
            if number == until:
                is_away = not is_away
                (suspend if is_away else resume)(valkey)
                until = number + (draw.randint(20, 60) if is_away else draw.randint(200, 500))
                if not is_away:
                    redis_store.connect(settings.redis).client.client_kill_filter(_type="normal")
                    await asyncio.sleep(2 * settings.serving.breaker_open_seconds)
            request, before = draw_request(world, draw), misses.count
            status, content = await ask(app, request)
            assert status == 200, (request, content)
            answers = (
                content if request.path.endswith("/batch") else {request.people[0] if request.people else "": content}
            )
            for person, answer in answers.items():
                judge(world, request, person or None, answer, is_away=is_away or misses.count > before)
                figures["relaxed_seen"] += "exclude_seen" in answer["relaxed"]
                figures["personal"] += answer["source"] == "fold_in"
                reads = request.asked.get("exclude_seen") or request.asked.get("explain")
                if person and reads and not is_away and answer["source"] == "fold_in":
                    world.was_read.add(person)
            figures["requests"] += 1
            figures["away"] += is_away
        resume(valkey)
    return figures


def test_no_request_gets_an_empty_list_a_withdrawn_item_or_one_the_person_had(
    own: Settings, tmp_path: Path, misses: Misses
) -> None:
    draw = random.Random(20261126)
    total = dict.fromkeys(("requests", "away", "relaxed_seen", "personal"), 0)
    for number in range(-(-REQUESTS // PER_WORLD)):
        world = build_world(own, draw, number)
        count = min(PER_WORLD, REQUESTS - total["requests"])
        for name, figure in asyncio.run(drive(own, world, draw, count, pid_of(tmp_path), misses)).items():
            total[name] += figure
        print(total, flush=True)  # noqa: T201 - shown with -s
    assert total["requests"] == REQUESTS
    assert total["away"] > REQUESTS / 50
    assert total["personal"] > REQUESTS / 10
    assert total["relaxed_seen"] > 0
