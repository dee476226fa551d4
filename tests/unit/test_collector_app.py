"""The collector's answers: write key, sizes, batches, and a sink that cannot."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from afterclick.collector.app import create_app
from afterclick.collector.event_sink import OverloadedError
from afterclick.collector.segment_messages import Event
from afterclick.errors import StoreUnavailableError
from afterclick.settings import Settings

CONSENT = {"consent": {"categoryPreferences": {"analytics": True}}}
GOOD = {
    "type": "track",
    "event": "Product Viewed",
    "userId": "ada",
    "properties": {"product_id": "mug"},
    "context": CONSENT,
}
DENIED = {**GOOD, "context": {}}
NOBODY = {**GOOD, "userId": None}
KEY = "test-write-key"


class MemorySink:
    """Keeps events; fails with `error` when it has one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[Event] = []
        self.error = error

    async def publish(self, events: Sequence[Event]) -> None:
        if self.error:
            raise self.error
        self.events.extend(events)

    def is_ready(self) -> bool:
        return self.error is None

    def close(self) -> None:
        pass


def client_of(settings: Settings, sink: MemorySink) -> TestClient:
    return TestClient(create_app(settings, sink, lambda: datetime(2026, 11, 24, tzinfo=UTC)))


def post(settings: Settings, sink: MemorySink, path: str, body: Any, **options: Any) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client_of(settings, sink).post(path, content=content, **({"auth": (KEY, "")} | options))


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.mark.parametrize("call", ["track", "page", "screen", "identify", "group", "alias"])
def test_single_message_is_accepted_on(settings: Settings, sink: MemorySink, call: str) -> None:
    answer = post(settings, sink, f"/v1/{call}", GOOD)

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert len(sink.events) == 1


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("options", "extra", "status"),
    [
        ({"auth": (KEY, "")}, {}, 200),
        ({"auth": None, "headers": basic(KEY)}, {}, 200),
        ({"auth": None}, {"writeKey": KEY}, 200),
        ({"auth": None, "params": {"writeKey": KEY}}, {}, 200),
        ({"auth": None}, {}, 401),
        ({"auth": ("other", "")}, {}, 401),
        ({"auth": ("", "")}, {}, 401),
        ({"auth": None, "headers": {"Authorization": "Basic ***"}}, {}, 401),
        ({"auth": ("other", "")}, {"writeKey": KEY}, 401),
    ],
    ids=["basic", "basic_no_colon", "body", "query", "absent", "unknown", "empty", "not_base64", "basic_goes_first"],
)
def test_write_key(
    settings: Settings, sink: MemorySink, options: dict[str, Any], extra: dict[str, str], status: int
) -> None:
    assert post(settings, sink, "/v1/batch", {"batch": [GOOD], **extra}, **options).status_code == status
    assert len(sink.events) == (status == 200)


def test_batch_accepts_the_good_and_tells_the_bad(settings: Settings, sink: MemorySink) -> None:
    answer = post(settings, sink, "/v1/batch", {"batch": [GOOD, NOBODY, DENIED, 7]})

    assert answer.status_code == 200
    assert [(r["index"], r["reason"]) for r in answer.json()["rejected"]] == [(1, "no_subject"), (3, "wrong_types")]
    assert [event.key is None for event in sink.events] == [False, True, True]
    assert counts(settings, sink, {"batch": [GOOD, NOBODY, DENIED, 7]}) == {
        "accepted": 1,
        "no_consent": 1,
        "rejected": 2,
    }


def counts(settings: Settings, sink: MemorySink, body: Any) -> dict[str, int]:
    client = client_of(settings, sink)
    client.post("/v1/batch", json=body, auth=(KEY, ""))
    lines = [
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("afterclick_collector_events_total")
    ]
    return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines}


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/track", b"{", "not a JSON message"),
        ("/v1/track", b"[]", "not a JSON message"),
        ("/v1/batch", b"\xff\xfe", "not a JSON message"),
        ("/v1/batch", {"batch": "x"}, "not a JSON message"),
        ("/v1/batch", {"messages": []}, "not a JSON message"),
        ("/v1/track", NOBODY, "neither userId nor anonymousId"),
        ("/v1/batch", {"batch": [NOBODY]}, "neither userId nor anonymousId"),
        ("/v1/track", {**GOOD, "note": "x" * 32_768}, "more than 32768 bytes"),
        ("/v1/batch", {"batch": [GOOD], "note": "x" * 512_000}, "more than 512000 bytes"),
        ("/v1/batch", {"batch": [{**GOOD, "note": "x" * 32_768}]}, "at most 32768"),
    ],
)
def test_bad_request_is_400_with_why_and_leaves_a_stub(
    settings: Settings, sink: MemorySink, path: str, body: Any, told: str
) -> None:
    answer = post(settings, sink, path, body)

    assert answer.status_code == 400
    assert told in answer.json()["error"]
    assert [event.key for event in sink.events] == [None]


def test_bad_request_without_key_leaves_nothing(settings: Settings, sink: MemorySink) -> None:
    assert post(settings, sink, "/v1/track", b"{", auth=None).status_code == 401
    assert sink.events == []


def test_empty_batch_is_accepted(settings: Settings, sink: MemorySink) -> None:
    assert post(settings, sink, "/v1/batch", {"batch": []}).status_code == 200


def test_unknown_path_is_404(settings: Settings, sink: MemorySink) -> None:
    assert post(settings, sink, "/v1/teleport", GOOD).status_code == 404


@pytest.mark.parametrize(("error", "status"), [(OverloadedError("full"), 429), (StoreUnavailableError("down"), 503)])
def test_sink_that_cannot_makes_the_client_come_back(settings: Settings, error: Exception, status: int) -> None:
    failing = MemorySink(error)

    answer = post(settings, failing, "/v1/batch", {"batch": [GOOD]})

    assert (answer.status_code, answer.headers["Retry-After"]) == (status, "1")
    assert client_of(settings, failing).get("/health/ready").status_code == 503
    assert client_of(settings, failing).get("/health/live").status_code == 200
