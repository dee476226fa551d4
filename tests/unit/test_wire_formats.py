"""Other formats than Segment's become the same events: Snowplow, CloudEvents; device and page."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import Request

from afterclick.collector.devices import device_type, ip_prefix, is_bot
from afterclick.collector.messages import Arrival, Refused
from afterclick.collector.segment_messages import read_message
from afterclick.collector.wire_formats import open_cloud_events, open_snowplow
from afterclick.consent_rules import Decision, Person
from afterclick.setting_sections import CollectorSettings
from builders import subject

AT = datetime(2026, 11, 24, 12, 0, 10, tzinfo=UTC)
RULES = CollectorSettings()
YES = Decision(granted=True, at_ms=0, source="event")
ADA = Person("owner", subject("ada"), {"analytics": YES})
CONSENT = {"categoryPreferences": {"analytics": True}}
ENTITY = {"schema": "iglu:com.afterclick/consent/jsonschema/1-0-0", "data": CONSENT}
CONTEXTS = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1"
ACTION = "iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2"
UNSTRUCT = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0"


def request(**headers: str) -> Request:
    return Request(
        {"type": "http", "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]}
    )


def event_of(opened: Any) -> dict[str, Any]:
    event = read_message(opened.messages[0], opened.arrival, RULES).event(ADA)
    assert event is not None
    return {k: v for k, v in json.loads(event.value).items() if v is not None}


def snowplow(*, entities: Any = (), encoded: bool = True, **fields: str) -> dict[str, Any]:
    contexts = json.dumps({"schema": CONTEXTS, "data": [ENTITY, *entities]})
    packed = {"cx": base64.urlsafe_b64encode(contexts.encode()).decode().rstrip("=")} if encoded else {"co": contexts}
    sent = {"uid": "ada", "eid": "e-1", "aid": "app", "tv": "py-1.1.0", "dtm": "1795608000000", "stm": "1795608001000"}
    body = json.dumps({"schema": "iglu:x", "data": [{**sent, **packed, **fields}]}).encode()
    return event_of(open_snowplow(request(), body, Arrival(AT)))


def ecommerce(action: str) -> dict[str, Any]:
    event = {
        "schema": ACTION,
        "data": {"type": action},
    }
    product = {"id": "mug", "price": 3.5, "currency": "EUR", "quantity": 2}
    entities = [
        {"schema": "iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0", "data": product},
        {
            "schema": "iglu:x.ecommerce/transaction/jsonschema/1-0-0",
            "data": {"transaction_id": "o-1", "currency": "EUR"},
        },
    ]
    return snowplow(e="ue", ue_pr=json.dumps({"schema": UNSTRUCT, "data": event}), entities=entities)


@pytest.mark.parametrize("encoded", [True, False])
def test_snowplow_page_view(encoded: bool) -> None:
    event = snowplow(
        e="pv", url="https://shop.example/mug?x=1", refr="https://search.example/q?secret", encoded=encoded
    )

    assert {k: event[k] for k in ("event_id", "event_type", "page_path", "referrer_host", "event_at", "source")} == {
        "event_id": "e-1",
        "event_type": "page",
        "page_path": "/mug",
        "referrer_host": "search.example",
        "event_at": "2026-11-24T12:00:09.000Z",
        "source": "snowplow-py-1.1.0",
    }


@pytest.mark.parametrize(
    ("action", "kind"),
    [("product_view", "view"), ("add_to_cart", "cart"), ("transaction", "purchase"), ("list_view", "list_view")],
)
def test_snowplow_ecommerce_action(action: str, kind: str) -> None:
    event = ecommerce(action)

    assert event["event_type"] == kind
    assert event["items"] == [{"item_id": "mug", "quantity": 2, "price": 3.5}]
    assert (event["order_id"], event["currency"]) == ("o-1", "EUR")


def test_snowplow_older_cart_event_and_transaction_item() -> None:
    cart = {"schema": "iglu:com.snowplowanalytics.snowplow/add_to_cart/jsonschema/1-0-0",
            "data": {"sku": "mug", "quantity": 1, "unitPrice": 2.5}}  # fmt: skip
    event = snowplow(e="ue", ue_pr=json.dumps({"schema": UNSTRUCT, "data": cart}))
    item = snowplow(e="ti", ti_id="o-2", ti_sk="mug", ti_pr="2.5", ti_qu="3")

    assert (event["event_type"], event["items"]) == ("cart", [{"item_id": "mug", "quantity": 1, "price": 2.5}])
    assert (item["event_type"], item["order_id"]) == ("purchase", "o-2")
    assert item["items"] == [{"item_id": "mug", "quantity": 3, "price": 2.5}]


def test_snowplow_page_ping_says_how_far() -> None:
    assert snowplow(e="pp", pp_may="600", vp="800x400", ds="800x2000")["scroll_percent"] == 50.0


@pytest.mark.parametrize(
    "fields",
    [
        {"e": "ue", "ue_px": "***"}, {"e": "ue", "ue_pr": "{}"}, {"e": "ue", "ue_pr": "["}, {"e": "zz"},
        {"e": "ue", "ue_pr": json.dumps({"schema": UNSTRUCT, "data": {"schema": ACTION, "data": {"type": 7}}})},
    ],
    ids=["not_base64", "no_schema", "not_json", "unknown_kind", "action_is_no_text"],
)  # fmt: skip
def test_snowplow_refuses_what_it_cannot_read(fields: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        snowplow(**fields)


CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "com.shop.product_viewed.v2",
    "subject": "ada",
    "time": "2026-11-24T12:00:00Z",
    "data": {"product_id": "mug", "context": {"consent": CONSENT}},
}


def test_cloud_event_structured_and_binary_are_the_same_event() -> None:
    structured = event_of(open_cloud_events(request(), json.dumps(CLOUD_EVENT).encode(), Arrival(AT)))
    attributes = {f"ce_{name}": str(value) for name, value in CLOUD_EVENT.items() if name != "data"}
    binary = event_of(open_cloud_events(request(**attributes), json.dumps(CLOUD_EVENT["data"]).encode(), Arrival(AT)))

    assert structured == binary
    assert (structured["event_id"], structured["event_type"]) == ("/shop/1", "view")
    assert structured["items"] == [{"item_id": "mug", "quantity": None, "price": None}]
    assert structured["event_at"] == "2026-11-24T12:00:00.000Z"


def test_cloud_event_of_packed_data_is_the_same_event() -> None:
    packed = base64.b64encode(json.dumps(CLOUD_EVENT["data"]).encode()).decode()
    sent = {name: value for name, value in CLOUD_EVENT.items() if name != "data"} | {"data_base64": packed}

    plain, unpacked = (
        event_of(open_cloud_events(request(), json.dumps(one).encode(), Arrival(AT))) for one in (CLOUD_EVENT, sent)
    )

    assert unpacked == plain


def test_cloud_event_of_packed_bytes_that_are_no_json_is_an_event_without_data() -> None:
    sent = {k: v for k, v in CLOUD_EVENT.items() if k != "data"}
    sent |= {"data_base64": "iVBORw0KGgo=", "datacontenttype": "image/png"}
    opened = open_cloud_events(request(), json.dumps(sent).encode(), Arrival(AT))

    assert read_message(opened.messages[0], opened.arrival, RULES).claim.consent == {}


@pytest.mark.parametrize("depth", [65, 100_000])
def test_cloud_event_of_deep_packed_data_is_refused(depth: int) -> None:
    packed = base64.b64encode(b"[" * depth + b"]" * depth).decode()
    sent = {k: v for k, v in CLOUD_EVENT.items() if k != "data"} | {"data_base64": packed}
    opened = open_cloud_events(request(), json.dumps(sent).encode(), Arrival(AT))

    with pytest.raises(Refused):
        read_message(opened.messages[0], opened.arrival, RULES)


def test_cloud_events_in_a_batch_are_messages_of_their_own() -> None:
    assert len(open_cloud_events(request(), json.dumps([CLOUD_EVENT, 7]).encode(), Arrival(AT)).messages) == 2


@pytest.mark.parametrize(
    "change", [{"id": ...}, {"specversion": "0.3"}, {"data": "text"}, {"data": [1]}, {"data_base64": "eA=="}]
)
def test_cloud_event_refuses(change: dict[str, Any]) -> None:
    sent = {k: v for k, v in {**CLOUD_EVENT, **change}.items() if v is not ...}
    opened = open_cloud_events(request(), json.dumps(sent).encode(), Arrival(AT))

    with pytest.raises(Refused):
        read_message(opened.messages[0], opened.arrival, RULES)


@pytest.mark.parametrize(
    ("user_agent", "device", "expected"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0", None, "desktop"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148", None, "mobile"),
        ("Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X)", None, "tablet"),
        ("Mozilla/5.0 (Linux; Android 14; SM-X710) Safari/537.36", None, "tablet"),
        ("Mozilla/5.0 (Linux; Android 14; Pixel 8) Mobile Safari/537.36", None, "mobile"),
        (None, {"type": "ios", "model": "iPad14,1"}, "tablet"),
        (None, {"type": "android"}, "mobile"),
        (None, None, None),
    ],
)
def test_device_type(user_agent: str | None, device: Any, expected: str | None) -> None:
    assert device_type(user_agent, device) == expected


def test_is_bot_knows_crawlers() -> None:
    assert is_bot("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
    assert not is_bot("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36")


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("nobody", None),
        (None, None),
    ],
)
def test_ip_prefix(address: str | None, prefix: str | None) -> None:
    assert ip_prefix(address) == prefix
