"""Segment messages become events: ids, time, consent, items; what cannot is refused with a reason."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from afterclick.collector.messages import Arrival, Context, Refused, refusal
from afterclick.collector.segment_messages import read_message
from afterclick.consent_rules import Claim, Decision, Person
from afterclick.pseudonyms import RawId
from afterclick.setting_sections import CollectorSettings
from builders import subject

RULES = CollectorSettings()
AT = datetime(2026, 11, 24, 12, 0, 10, tzinfo=UTC)
YES = Decision(granted=True, at_ms=0, source="event")
ADA = Person("owner", subject("ada"), {"analytics": YES, "personalisation": YES})
GRANTED = {"consent": {"categoryPreferences": {"analytics": True, "personalisation": True}}}


def message(**overrides: Any) -> dict[str, Any]:
    base = {
        "type": "track",
        "event": "Product Viewed",
        "userId": "ada",
        "messageId": "m-1",
        "properties": {"product_id": "mug", "price": 3.5, "quantity": 1},
        "context": GRANTED,
    }
    return {key: value for key, value in (base | overrides).items() if value is not ...}


def event_of(sent: dict[str, Any], **arrival: Any) -> dict[str, Any]:
    event = read_message(json.dumps(sent).encode(), Arrival(AT, **arrival), RULES).event(ADA)
    assert event is not None
    return dict(json.loads(event.value))


def claim_of(sent: dict[str, Any], **arrival: Any) -> Claim:
    return read_message(json.dumps(sent).encode(), Arrival(AT, **arrival), RULES).claim


def test_read_message_writes_every_field() -> None:
    assert event_of(message()) == {
        "event_id": "m-1",
        "event_type": "view",
        "event_name": "Product Viewed",
        "subject_id": subject("ada"),
        "event_at": "2026-11-24T12:00:10.000Z",
        "received_at": "2026-11-24T12:00:10.000Z",
        "items": [{"item_id": "mug", "quantity": 1, "price": 3.5}],
        "order_id": None,
        "currency": None,
        "page_path": None,
        "campaign": None,
        "referrer_host": None,
        "device": None,
        "is_bot": None,
        "ip_prefix": None,
        "dwell_ms": None,
        "scroll_percent": None,
        "form_id": None,
        "list_id": None,
        "consent": ["analytics", "personalisation"],
        "source": "segment",
        "rejected_reason": None,
    }


@pytest.mark.parametrize(
    ("name", "path"), [("Page Engaged", "/left"), ("Product Viewed", "/here")], ids=["engagement", "others"]
)
def test_read_message_credits_the_page_that_was_left_with_what_was_done_there(name: str, path: str) -> None:
    """A one-page application tells it when the browser shows the next one already."""
    sent = message(
        event=name,
        properties={"product_id": "mug", "path": "/left", "dwell_ms": 9},
        context={**GRANTED, "page": {"path": "/here"}},
    )

    assert event_of(sent)["page_path"] == path


@pytest.mark.parametrize(("sent", "kept"), [(2.0, 2), (1.5, 1.5), ("2", "2"), (1e300, 1e300)])
def test_read_message_writes_whole_quantities_as_whole_numbers(sent: Any, kept: Any) -> None:
    event = event_of(message(properties={"product_id": "mug", "quantity": sent}))

    assert repr(event["items"][0]["quantity"]) == repr(kept)


def test_read_message_keys_by_subject_and_keeps_the_raw_id_out() -> None:
    draft = read_message(json.dumps(message(userId="ada@example.org")).encode(), Arrival(AT), RULES)

    event = draft.event(ADA)
    assert event is not None
    assert event.key == subject("ada").encode()
    assert b"example.org" not in event.value


@pytest.mark.parametrize(
    ("ids", "kind", "name"),
    [
        ({"userId": "ada", "anonymousId": "x"}, "user", "ada"),
        ({"userId": "", "anonymousId": "x"}, "anonymous", "x"),
        ({"userId": None, "anonymousId": "x"}, "anonymous", "x"),
        ({"userId": 42}, "user", "42"),
    ],
    ids=["known", "empty_user", "null_user", "number"],
)
def test_read_message_chooses_the_subject(ids: dict[str, Any], kind: str, name: str) -> None:
    assert claim_of(message(**ids)).identifier == RawId(kind, name)


@pytest.mark.parametrize(
    ("sent", "also"),
    [
        (message(type="identify", anonymousId="x"), ["x"]),
        (message(type="alias", previousId="y", anonymousId="x"), ["y"]),
        (message(type="alias"), []),
        (message(type="track", anonymousId="x"), []),
        (message(type="identify", userId=None, anonymousId="x"), []),
    ],
    ids=["identify", "alias", "alias_of_nobody", "track_joins_nothing", "identify_without_user"],
)
def test_read_message_says_which_other_id_is_theirs(sent: dict[str, Any], also: list[str]) -> None:
    assert claim_of(sent).also == tuple(RawId("anonymous", name) for name in also)


@pytest.mark.parametrize(
    ("at", "seconds_ago"),
    [("2026-11-24T12:00:00Z", 10), ("2099-01-01T00:00:00Z", 0), ("not a time", 0), (..., 0)],
    ids=["said", "never_later_than_receipt", "unreadable", "absent"],
)
def test_read_message_says_when_consent_was_said(at: Any, seconds_ago: int) -> None:
    said = claim_of(message(originalTimestamp=at)).at_ms

    assert said == int(AT.timestamp() - seconds_ago) * 1000


@pytest.mark.parametrize(
    ("original", "at_ms"),
    [("0001-01-01T00:00:00Z", -62_135_596_800_000), (1, int(AT.timestamp() * 1000))],
    ids=["text", "number"],
)
def test_read_message_leaves_a_time_beyond_the_calendar(original: Any, at_ms: int) -> None:
    sent = message(originalTimestamp=original, sentAt="9999-12-31T23:59:59Z")

    draft = read_message(json.dumps(sent).encode(), Arrival(AT), RULES)

    assert (draft.fields["event_at"], draft.claim.at_ms) == (str(original), at_ms)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"originalTimestamp": "2026-11-24T11:00:00Z", "sentAt": "2026-11-24T11:00:04Z"}, "2026-11-24T12:00:06.000Z"),
        ({"originalTimestamp": "2026-11-24T13:00:00+02:00"}, "2026-11-24T11:00:00.000Z"),
        ({"timestamp": "2026-11-24T11:00:00.5Z"}, "2026-11-24T11:00:00.500Z"),
        (
            {"originalTimestamp": "2026-11-24T11:00:00Z", "timestamp": "2020-01-01T00:00:00Z"},
            "2026-11-24T11:00:00.000Z",
        ),
        ({"originalTimestamp": "not a time", "sentAt": "2026-11-24T11:00:04Z"}, "not a time"),
        ({"originalTimestamp": "2026-11-24T11:00:00"}, "2026-11-24T11:00:00"),
        ({"originalTimestamp": "2026-11-24T11:00:00Z", "sentAt": "later"}, "2026-11-24T11:00:00.000Z"),
    ],
    ids=["skewed_clock", "offset", "timestamp_only", "original_first", "unreadable", "no_offset", "sent_at_unreadable"],
)
def test_read_message_corrects_the_clock(times: dict[str, str], expected: str) -> None:
    assert event_of(message(**times))["event_at"] == expected


def test_read_message_takes_sent_at_of_the_batch() -> None:
    sent = message(originalTimestamp="2026-11-24T11:00:00Z")

    assert event_of(sent, sent_at="2026-11-24T11:00:01Z")["event_at"] == "2026-11-24T12:00:09.000Z"


@pytest.mark.parametrize(
    ("call", "name", "expected"),
    [
        ("track", "Viewed Product", "view"),
        ("track", "Product Added", "cart"),
        ("track", "Product Removed", "remove_from_cart"),
        ("track", "Order Completed", "purchase"),
        ("track", "Newsletter Closed", "custom"),
        ("page", None, "page"),
        ("identify", None, "identify"),
        ("alias", None, "alias"),
    ],
)
def test_read_message_names_the_event_type(call: str, name: str | None, expected: str) -> None:
    event = event_of(message(type=call, event=name))

    assert event["event_type"] == expected
    assert (event["items"] is None) == (expected in {"custom", "page", "identify", "alias"})


def test_read_message_takes_all_products_of_an_order() -> None:
    properties = {"order_id": 7, "currency": "EUR", "products": [{"product_id": 1, "price": 2.0}, {"sku": "b"}]}

    event = event_of(message(event="Order Completed", properties=properties))

    assert [item["item_id"] for item in event["items"]] == ["1", "b"]
    assert (event["order_id"], event["currency"]) == ("7", "EUR")


@pytest.mark.parametrize(
    "properties",
    [{"product_id": "mug", "price": "free"}, {"product_id": {"a": 1}}, {"products": "mug"}, {"products": ["mug"]}, {}],
)
def test_read_message_passes_wrong_values_on_for_quarantine(properties: dict[str, Any]) -> None:
    assert event_of(message(properties=properties))["items"]


@pytest.mark.parametrize(
    "context",
    [..., {}, {"consent": {}}, {"consent": {"categoryPreferences": {"advertising": True}}}],
)
def test_claim_is_silent_where_the_message_is(context: Any) -> None:
    assert claim_of(message(context=context)).consent == {}


def test_claim_is_express_when_the_event_is_the_choice_itself() -> None:
    assert claim_of(message(event="Segment Consent Preference Updated")).source == "consent_event"


def test_a_draft_is_no_event_when_its_person_is_unknown_or_granted_nothing() -> None:
    draft = read_message(json.dumps(message()).encode(), Arrival(AT), RULES)

    assert draft.event(None) is None
    assert draft.event(ADA._replace(decisions={})) is None


def test_a_denial_in_the_message_itself_restricts_its_event() -> None:
    context = {"consent": {"categoryPreferences": {"personalisation": False}}}

    assert event_of(message(context=context))["consent"] == ["analytics"]


def test_read_message_takes_consent_of_the_batch_when_it_has_none() -> None:
    context = Context(consent=GRANTED["consent"])

    assert event_of(message(context=...), context=context)["consent"] == ["analytics", "personalisation"]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (message(userId=...), "no_subject"),
        (message(userId="", anonymousId=""), "no_subject"),
        (message(type="teleport"), "unknown_call"),
        (message(type=...), "unknown_call"),
        (message(userId=["ada"]), "wrong_types"),
        (message(properties="mug"), "wrong_types"),
        (message(note="x" * 33_000), "event_too_large"),
    ],
)
def test_read_message_refuses_with_reason(sent: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as refused:
        read_message(json.dumps(sent).encode(), Arrival(AT), RULES)

    assert refused.value.reason == reason


def test_read_message_takes_exactly_the_largest_size() -> None:
    frame = len(json.dumps(message(note="")))

    assert event_of(message(note="x" * (RULES.max_event_bytes - frame)))


def test_read_message_gives_a_retry_without_id_the_same_id() -> None:
    assert event_of(message(messageId=...))["event_id"] == event_of(message(messageId=...))["event_id"]


def test_refusal_holds_nothing_personal() -> None:
    stub = refusal(b'{"userId": "ada"}', "no_subject", Arrival(AT))

    assert stub.key is None
    assert set(json.loads(stub.value)) == {"event_id", "received_at", "rejected_reason", "source"}
    assert b"ada" not in stub.value
