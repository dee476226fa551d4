"""What producers get wrong, by name: the message, the reason it must get, and whether `FIX` repairs it."""

import gzip
import json
from dataclasses import dataclass
from typing import Any

from builders import make_message

FIX: dict[str, list[dict[str, Any]]] = {
    "fixes": [
        {"rename": {"from": "userId", "to": "subject_id"}},
        {"rename": {"from": "messageId", "to": "event_id"}},
        {"rename": {"from": "products", "to": "items"}},
        {"rename": {"from": "items[].product_id", "to": "item_id"}},
        {"cast": {"field": "items", "to": "array"}},
        {"cast": {"field": "items[].price", "to": "number"}},
        {"cast": {"field": "items[].quantity", "to": "integer"}},
        {"set": {"field": "items[].quantity", "value": 1, "instead_of": 0}},
        {"set": {"field": "event_type", "value": "view", "instead_of": "VIEW"}},
        {"cast": {"field": "event_at", "to": "timestamp"}},
        {"cast": {"field": "consent", "to": "array"}},
        {"set": {"field": "received_at", "value": "2026-11-24T12:00:00.000Z", "instead_of": None}},
    ]
}


@dataclass(frozen=True)
class Poison:
    """One kind: `value` gets a fresh event id, None stays a tombstone."""

    value: dict[str, Any] | bytes | None
    reason: str
    is_repairable: bool = False


def _item(**fields: Any) -> dict[str, Any]:
    return make_message(items=[{"item_id": "mug", "quantity": 1, "price": 1.5} | fields])


def _renamed(old: str, new: str) -> dict[str, Any]:
    message = make_message()
    message[new] = message.pop(old)
    return message


def _text(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()


POISONS: dict[str, Poison] = {
    "tombstone": Poison(None, "empty_value"),
    "empty": Poison(b"", "malformed"),
    "blank": Poison(b"   ", "malformed"),
    "raw_bytes": Poison(b"\xff\xfe\x00\x01", "malformed"),
    "gzip": Poison(gzip.compress(_text(make_message()), mtime=0), "malformed"),
    "utf_16": Poison(json.dumps(make_message()).encode("utf-16"), "malformed"),
    "json_null": Poison(b"null", "malformed"),
    "json_number": Poison(b"42", "malformed"),
    "json_text": Poison(b'"view"', "malformed"),
    "json_array": Poison(b"[" + _text(make_message()) + b"]", "malformed"),
    "truncated": Poison(_text(make_message())[:-9], "malformed"),
    "two_in_one": Poison(_text(make_message()) + _text(make_message()), "malformed"),
    "trailing_text": Poison(_text(make_message()) + b" and more", "malformed"),
    "single_quotes": Poison(_text(make_message()).replace(b'"', b"'"), "malformed"),
    "not_a_number": Poison(_text(_item()).replace(b"1.5", b"NaN"), "malformed"),
    "infinite": Poison(_text(_item()).replace(b"1.5", b"Infinity"), "malformed"),
    "xml": Poison(b"<event><id>1</id></event>", "malformed"),
    "csv": Poison(b"1,view,ada,mug", "malformed"),
    "deeply_nested": Poison(b'{"event_id":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "malformed"),
    "endless_number": Poison(b'{"event_id":"e","items":[{"quantity":' + b"9" * 20_000 + b"}]}", "malformed"),
    "nothing_in_it": Poison(b"{}", "event_id_missing"),
    "refused_by_collector": Poison(
        {"event_id": "e", "received_at": "2026-11-24T12:00:00Z", "rejected_reason": "no_subject"},
        "collector:no_subject",
    ),
    "id_null": Poison(b'{"event_id":null,' + _text(make_message())[1:].split(b",", 1)[1], "event_id_missing"),
    "id_object": Poison(_text(make_message(event_id={"a": 1})), "event_id_not_plain"),
    "id_with_control": Poison(_text(make_message(event_id="a\u0000b")), "event_id_not_plain"),
    "id_empty": Poison(_text(make_message(event_id="")), "event_id_length"),
    "id_too_long": Poison(_text(make_message(event_id="x" * 129)), "event_id_length"),
    "id_renamed": Poison(_renamed("event_id", "messageId"), "event_id_missing", is_repairable=True),
    "type_null": Poison(make_message(event_type=None), "event_type_missing"),
    "type_unknown": Poison(make_message(event_type="teleport"), "event_type_unknown"),
    "type_in_capitals": Poison(make_message(event_type="VIEW"), "event_type_unknown", is_repairable=True),
    "subject_null": Poison(make_message(subject_id=None), "subject_missing"),
    "subject_email": Poison(make_message(subject_id="ada@example.org"), "subject_not_pseudonym"),
    "subject_object": Poison(make_message(subject_id={"id": "ada"}), "subject_not_pseudonym"),
    "subject_renamed": Poison(_renamed("subject_id", "userId"), "subject_missing", is_repairable=True),
    "time_words": Poison(make_message(event_at="soon"), "event_at_invalid"),
    "time_missing": Poison(make_message(event_at=None), "event_at_invalid"),
    "time_without_zone": Poison(make_message(event_at="2026-11-24T11:59:59"), "event_at_invalid", is_repairable=True),
    "time_epoch_ms": Poison(make_message(event_at=1_795_521_599_000), "event_at_invalid", is_repairable=True),
    "time_13th_month": Poison(make_message(event_at="2026-13-24T11:59:59Z"), "event_at_invalid"),
    "time_year_1970": Poison(make_message(event_at="1970-01-01T00:00:00Z"), "event_at_implausible"),
    "time_six_minutes_ahead": Poison(make_message(event_at="2026-11-24T12:06:00Z"), "event_in_future"),
    "time_year_2099": Poison(make_message(event_at="2099-01-01T00:00:00Z"), "event_in_future"),
    "receipt_missing": Poison(make_message(received_at=None), "received_at_invalid", is_repairable=True),
    "receipt_in_future": Poison(make_message(received_at="2026-11-25T12:00:00Z"), "received_in_future"),
    "items_missing": Poison(make_message(items=None), "item_missing"),
    "items_empty": Poison(make_message(items=[]), "item_missing"),
    "items_too_many": Poison(make_message(items=[{"item_id": "mug"}] * 1001), "item_missing"),
    "items_text": Poison(make_message(items="mug"), "malformed"),
    "items_object": Poison(make_message(items={"item_id": "mug"}), "malformed", is_repairable=True),
    "items_renamed": Poison(_renamed("items", "products"), "item_missing", is_repairable=True),
    "item_id_null": Poison(_item(item_id=None), "item_id_missing"),
    "item_id_blank": Poison(_item(item_id="  "), "item_id_missing"),
    "item_id_object": Poison(_item(item_id={"id": 1}), "item_id_missing"),
    "item_id_renamed": Poison(make_message(items=[{"product_id": "mug"}]), "item_id_missing", is_repairable=True),
    "price_negative": Poison(_item(price=-0.01), "price_negative"),
    "price_words": Poison(_item(price="free"), "malformed"),
    "price_text": Poison(_item(price="1.50"), "malformed", is_repairable=True),
    "price_astronomic": Poison(_item(price=1e300), "price_implausible"),
    "quantity_zero": Poison(_item(quantity=0), "quantity_not_positive", is_repairable=True),
    "quantity_negative": Poison(_item(quantity=-3), "quantity_not_positive"),
    "quantity_text": Poison(_item(quantity="2"), "malformed", is_repairable=True),
    "quantity_point_zero": Poison(_item(quantity=2.0), "malformed", is_repairable=True),
    "quantity_half": Poison(_item(quantity=1.5), "malformed"),
    "quantity_beyond_64_bits": Poison(_item(quantity=10**20), "malformed"),
    "quantity_astronomic": Poison(_item(quantity=10**12), "quantity_implausible"),
    "consent_text": Poison(make_message(consent="analytics"), "malformed", is_repairable=True),
}


def poisoned(kind: str, event_id: str) -> bytes | None:
    """Return a message of a kind; where the kind is not about the id, it gets `event_id`."""
    value = POISONS[kind].value
    if not isinstance(value, dict):
        return value
    name = "messageId" if "messageId" in value else "event_id"
    return json.dumps(value | {name: event_id}).encode()
