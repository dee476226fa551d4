"""Who may do what: every principal against every route of both OpenAPI documents."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterclick.access_keys import Scope
from afterclick.collector import app as collector
from afterclick.collector.messages import Event
from afterclick.connectors.key_store import KeyStore
from afterclick.errors import SettingsError
from afterclick.serving import app as serving
from afterclick.settings import Settings

NOW = datetime.now(UTC)
ANYBODY = frozenset({"nobody", "unknown", "configured", "ingest", "read", "admin", "ended", "revoked", "query"})
SENDERS = frozenset({"configured", "ingest"})
# What each route opens to. A new route needs a line here: that is its review.
MATRIX: dict[tuple[str, str], frozenset[str]] = {
    ("post", "/v1/{call}"): SENDERS | {"query"},
    ("post", "/beacon/v1/batch"): SENDERS | {"query"},
    ("post", "/v1/cloudevents"): SENDERS | {"query"},
    ("post", "/com.snowplowanalytics.snowplow/tp2"): SENDERS | {"query"},
    ("post", "/v1/subjects/consent"): frozenset({"admin"}),
    ("post", "/v1/subjects/erase"): frozenset({"admin"}),
    ("get", "/v1/projects/{write_key}/settings"): SENDERS,
    ("get", "/sourceConfig"): SENDERS | {"query"},
    ("get", "/sourceConfig/"): SENDERS | {"query"},
    ("get", "/analytics.js/v1/{write_key}/analytics.min.js"): SENDERS,
    ("get", "/analytics-next/bundles/{name}"): ANYBODY,
    ("get", "/afterclick.js"): ANYBODY,
    ("get", "/_inspect/all"): ANYBODY,
    ("get", "/_inspect/good"): ANYBODY,
    ("get", "/_inspect/bad"): ANYBODY,
    ("post", "/_inspect/reset"): ANYBODY,
    ("get", "/health/live"): ANYBODY,
    ("get", "/health/ready"): ANYBODY,
    ("get", "/metrics"): ANYBODY,
    ("get", "/v1/recommendations/{user_id}"): frozenset({"read"}),
    ("post", "/v1/recommendations"): frozenset({"read"}),
    ("post", "/v1/recommendations/batch"): frozenset({"read"}),
    ("get", "/v1/similar/{item_id}"): frozenset({"read"}),
    ("get", "/v1/popular"): frozenset({"read"}),
}
BODIES: dict[str, Any] = {"/com.snowplowanalytics.snowplow/tp2": {"data": []}, "/v1/cloudevents": []}
DENIED = {401, 403}


class MemorySink:
    async def publish(self, events: Sequence[Event]) -> None:
        pass

    def is_ready(self) -> bool:
        return True

    def close(self) -> None:
        pass


@pytest.fixture
def keys(settings: Settings) -> dict[str, str]:
    """Return the key of each principal; "nobody" has none."""
    assert settings.keys.url
    store = KeyStore(settings.keys.url.get_secret_value())
    made = {scope.value: store.create({scope}, NOW) for scope in Scope}
    made |= {name: store.create(set(Scope), NOW) for name in ("ended", "revoked")}
    store.rotate(made["ended"][0].key_id, NOW, NOW - timedelta(seconds=1))
    store.revoke(made["revoked"][0].key_id, NOW)
    own = {name: key for name, (_, key) in made.items()}
    return {**own, "configured": "test-write-key", "unknown": "0" * 32, "nobody": "", "query": own["ingest"]}


@pytest.fixture
def clients(settings: Settings, keys: dict[str, str]) -> list[TestClient]:
    assert keys
    strict = settings.model_copy(update={"serving": settings.serving.model_copy(update={"require_key": True})})
    apps = [collector.create_app(settings, MemorySink(), lambda: datetime.now(UTC)), serving.create_app(strict)]
    return [TestClient(app, raise_server_exceptions=False) for app in apps]


def routes(app: FastAPI) -> list[tuple[str, str]]:
    return [(method, path) for path, methods in app.openapi()["paths"].items() for method in methods]


def allowed(client: TestClient, method: str, path: str, principal: str, keys: dict[str, str]) -> bool:
    """Tell whether the answer is anything but a refusal of the principal; a 404 of a key in the path is one."""
    key = keys[principal]
    has_key_in_path = "{write_key}" in path
    filled = path.format(call="batch", write_key=key or "-", name="x.js", user_id="ada", item_id="mug")
    by_query = principal == "query" and not has_key_in_path
    options: dict[str, Any] = {"params": {"writeKey": key}} if by_query else {"auth": (key, "")} if key else {}
    if method == "post":
        options["json"] = BODIES.get(path, {"batch": []})
    answer = client.request(method, filled, **options)
    if has_key_in_path:
        return "write key is not known" not in answer.text
    return answer.status_code not in DENIED


def test_every_route_has_its_line(clients: list[TestClient]) -> None:
    found = {route for client in clients for route in routes(client.app)}  # type: ignore[arg-type]

    assert found == set(MATRIX)


def test_nobody_may_do_more_or_less_than_the_matrix_says(clients: list[TestClient], keys: dict[str, str]) -> None:
    unexpected: dict[str, list[tuple[str, ...]]] = {"allow": [], "deny": []}
    for client in clients:
        for method, path in routes(client.app):  # type: ignore[arg-type]
            for principal in sorted(ANYBODY):
                by_path = principal == "query" and "{write_key}" in path
                expected = principal in MATRIX[method, path] or by_path
                if allowed(client, method, path, principal, keys) != expected:
                    unexpected["deny" if expected else "allow"].append((principal, method, path))

    assert unexpected == {"allow": [], "deny": []}


def test_a_revoked_key_is_refused_within_five_seconds(settings: Settings, keys: dict[str, str]) -> None:
    app = collector.create_app(settings, MemorySink(), lambda: datetime.now(UTC))
    assert settings.keys.url
    store = KeyStore(settings.keys.url.get_secret_value())
    record = next(key for key in store.read_keys() if key.scopes == {Scope.INGEST})
    with TestClient(app) as client:
        assert client.post("/v1/batch", json={"batch": []}, auth=(keys["ingest"], "")).status_code == 200
        store.revoke(record.key_id, NOW)
        begun = datetime.now(UTC)
        while client.post("/v1/batch", json={"batch": []}, auth=(keys["ingest"], "")).status_code == 200:
            assert datetime.now(UTC) - begun < timedelta(seconds=5)


def test_an_api_that_needs_keys_does_not_start_without_a_key_store(settings: Settings) -> None:
    closed = {
        "serving": settings.serving.model_copy(update={"require_key": True}),
        "keys": settings.keys.model_copy(update={"url": None}),
    }

    with pytest.raises(SettingsError, match="AFTERCLICK_KEYS__URL"):
        serving.create_app(settings.model_copy(update=closed))
