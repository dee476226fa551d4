"""The collector's answers: write key, sizes, batches, and a sink that cannot."""

import base64
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from afterclick.collector.app import create_app
from afterclick.collector.event_sink import OverloadedError
from afterclick.collector.messages import Event
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
DENIED = {**GOOD, "userId": "eve", "context": {}}
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


def test_half_an_emoji_costs_no_other_message_of_the_batch(settings: Settings, sink: MemorySink) -> None:
    """A browser's ``JSON.stringify("mug" + emoji.substring(0, 1))``."""
    pages = ["mug \ud83d", "\ude00", "\U0001f600", "\\ud83d"]
    cut = [{**GOOD, "context": {**CONSENT, "page": {"path": f"/{page}"}}} for page in pages]

    answer = post(settings, sink, "/v1/batch", json.dumps({"batch": [GOOD, *cut]}).encode())

    assert answer.json() == {"success": True}
    paths = [json.loads(event.value)["page_path"] for event in sink.events]
    assert paths == [None, "/mug ?", "/?", "/\U0001f600", "/\\ud83d"]
    assert post(settings, sink, "/v1/track", json.dumps(cut[0]).encode()).status_code == 200
    assert post(settings, sink, "/v1/track", json.dumps({**cut[0], "n": float("nan")}).encode()).status_code == 400


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


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/t", GOOD),
        ("/v1/p", {**GOOD, "type": "page"}),
        ("/v1/i", GOOD),
        ("/v1/g", GOOD),
        ("/v1/a", GOOD),
        ("/v1/s", GOOD),
        ("/v1/b", {"batch": [GOOD]}),
        ("/v1/import", {"batch": [GOOD]}),
        ("/beacon/v1/batch", {"batch": [GOOD]}),
    ],
)
def test_other_paths_of_clients(settings: Settings, sink: MemorySink, path: str, body: Any) -> None:
    assert post(settings, sink, path, body).status_code == 200
    assert len(sink.events) == 1


def test_browser_statistics_are_taken_and_let_go(settings: Settings, sink: MemorySink) -> None:
    assert post(settings, sink, "/v1/m", {"series": []}, auth=None).status_code == 200
    assert sink.events == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", {"writeKey": KEY, "batch": [GOOD]}),
        ("application/octet-stream", {"writeKey": KEY, "batch": [GOOD]}),
    ],
)
def test_mobile_client_sends_gzip_without_authorization(
    settings: Settings, sink: MemorySink, content_type: str, body: Any
) -> None:
    packed = gzip.compress(json.dumps(body).encode())
    headers = {"Content-Type": content_type, "Content-Encoding": "gzip"}

    assert post(settings, sink, "/v1/b", packed, auth=None, headers=headers).status_code == 200
    assert len(sink.events) == 1


def test_snowplow_key_is_the_app_id(settings: Settings, sink: MemorySink) -> None:
    consent = {"schema": "iglu:x/consent/jsonschema/1-0-0", "data": CONSENT["consent"]}
    event = {"e": "pv", "aid": KEY, "uid": "ada", "co": json.dumps({"schema": "iglu:contexts", "data": [consent]})}
    path = "/com.snowplowanalytics.snowplow/tp2"

    assert post(settings, sink, path, {"schema": "iglu:x", "data": [event]}, auth=None).status_code == 200
    assert post(settings, sink, path, {"data": [{**event, "aid": "other"}]}, auth=None).status_code == 401
    assert len(sink.events) == 1


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b'{"batch": [' + b"[" * 20_000, 400, "not a JSON message"),
        ({"batch": [{**GOOD, "properties": json.loads("[" * 65 + "]" * 65)}]}, 400, "deeper than 64"),
        (b'{"batch": [' + b"[" * 10_000 + b"]" * 10_000 + b"]}", 400, ""),
        ({"batch": [GOOD] * 5_001}, 400, "more than 512000 bytes"),
        ({"batch": [0] * 5_001}, 400, "at most 5000"),
        (b"x" * 4_200_000, 413, "more than 4194304"),
    ],
    ids=["unclosed", "deep_message", "depth_10_000", "many_bytes", "many_messages", "huge"],
)
def test_bounds(settings: Settings, sink: MemorySink, body: Any, status: int, told: str) -> None:
    answer = post(settings, sink, "/v1/batch", body)

    assert answer.status_code == status
    assert told in answer.json()["error"]


def test_a_key_that_sends_too_fast_is_told_when_to_come_back(settings: Settings, sink: MemorySink) -> None:
    slow = settings.model_copy(update={"collector": settings.collector.model_copy(update={"events_per_second": 0.5})})
    client = client_of(slow, sink)

    answers = [client.post("/v1/track", json=GOOD, auth=(KEY, "")) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["Retry-After"] == "2"


PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, anonymousid, sentat, x-retry-count, rsa-retry-reason",
}


def test_pages_of_allowed_origins_may_send(settings: Settings, sink: MemorySink) -> None:
    answer = client_of(settings, sink).options("/v1/batch", headers={"Origin": "https://shop.example", **PREFLIGHT})

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "x-retry-count" in answer.headers["Access-Control-Allow-Headers"]


def test_pages_of_other_origins_may_not(settings: Settings, sink: MemorySink) -> None:
    origins = {"allowed_origins": ("https://shop.example",)}
    strict = settings.model_copy(update={"collector": settings.collector.model_copy(update=origins)})
    client = client_of(strict, sink)
    foreign = {"Origin": "https://other.example"}

    assert client.options("/v1/batch", headers={**foreign, **PREFLIGHT}).status_code == 400
    assert client.post("/v1/track", json=GOOD, auth=(KEY, ""), headers=foreign).status_code == 403
    own = client.post("/v1/track", json=GOOD, auth=(KEY, ""), headers={"Origin": "https://shop.example"})
    assert (own.status_code, own.headers["Access-Control-Allow-Origin"]) == (200, "https://shop.example")
    assert len(sink.events) == 1


def test_browser_clients_get_their_settings(settings: Settings, sink: MemorySink) -> None:
    client = client_of(settings, sink)

    segment = client.get(f"/v1/projects/{KEY}/settings").json()["integrations"]["Segment.io"]
    rudder = client.get("/sourceConfig/", auth=(KEY, "")).json()["source"]
    assert (segment["apiHost"], segment["protocol"]) == ("testserver/v1", "http")
    assert (rudder["writeKey"], rudder["destinations"]) == (KEY, [])
    assert client.get("/v1/projects/other/settings").status_code == 404
    assert client.get("/sourceConfig", params={"writeKey": "other"}).status_code == 401


def test_browser_bundle_comes_from_its_folder_only(settings: Settings, sink: MemorySink, tmp_path: Path) -> None:
    (tmp_path / "standalone.js").write_text("// the client")
    (tmp_path.parent / "secret.js").write_text("// not for you")
    bundle = {"browser_bundle": tmp_path}
    client = client_of(settings.model_copy(update={"collector": settings.collector.model_copy(update=bundle)}), sink)

    assert client.get(f"/analytics.js/v1/{KEY}/analytics.min.js").text == "// the client"
    assert client.get("/analytics-next/bundles/standalone.js").status_code == 200
    assert client.get("/analytics-next/bundles/..%2Fsecret.js").status_code in {404, 422}
    assert client.get("/analytics-next/bundles/missing.js").status_code == 404
    assert client.get("/analytics.js/v1/other/analytics.min.js").status_code == 404
    told = client_of(settings, sink).get(f"/analytics.js/v1/{KEY}/analytics.min.js")
    assert "collector.browser_bundle" in told.json()["error"]


def test_page_script_is_small(settings: Settings, sink: MemorySink) -> None:
    script = client_of(settings, sink).get("/afterclick.js")

    assert "visibilitychange" in script.text
    assert len(script.content) < 4096


def test_inspector_shows_what_arrived(settings: Settings, sink: MemorySink) -> None:
    client = client_of(settings, sink)
    client.post("/v1/batch", json={"batch": [GOOD, NOBODY, DENIED]}, auth=(KEY, ""))

    assert client.get("/_inspect/all").json() == {"good": 1, "bad": 1, "no_consent": 1}
    assert client.get("/_inspect/good").json()[0]["event_type"] == "view"
    assert client.get("/_inspect/bad").json()[0]["reason"] == "no_subject"
    assert client.post("/_inspect/reset").json() == {"good": 0, "bad": 0, "no_consent": 0}
    assert client.get("/_inspect/good").json() == []


@pytest.mark.parametrize("change", [{"environment": "cluster"}, {"collector": {"inspect": False}}])
def test_inspector_is_for_one_machine_only(settings: Settings, sink: MemorySink, change: Any) -> None:
    rules = change.get("collector")
    update = {"collector": settings.collector.model_copy(update=rules)} if rules else change

    assert client_of(settings.model_copy(update=update), sink).get("/_inspect/all").status_code == 404
