"""Messages that producers past the collector get wrong, each with the reason that quarantine must give."""

import gzip
import json
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
Spoil = Callable[[Message], bytes | None]


def _text(message: Message) -> bytes:
    return json.dumps(message).encode()


def _with(**fields: Any) -> Spoil:
    return lambda message: _text(message | fields)


def _without(name: str) -> Spoil:
    return lambda message: _text({key: value for key, value in message.items() if key != name})


def _item(**fields: Any) -> Spoil:
    return lambda message: _text(message | {"items": [{"item_id": "item-1", "quantity": 1, "price": 1.5} | fields]})


POISONS: dict[str, tuple[str, Spoil]] = {
    "tombstone": ("empty_value", lambda _: None),
    "empty": ("malformed", lambda _: b""),
    "blank": ("malformed", lambda _: b"   "),
    "raw_bytes": ("malformed", lambda message: b"\xff\xfe\x00" + message["event_id"].encode()),
    "gzip": ("malformed", lambda message: gzip.compress(_text(message), mtime=0)),
    "utf_16": ("malformed", lambda message: json.dumps(message).encode("utf-16")),
    "json_null": ("malformed", lambda _: b"null"),
    "json_number": ("malformed", lambda _: b"42"),
    "json_text": ("malformed", lambda message: json.dumps(message["event_id"]).encode()),
    "json_array": ("malformed", lambda message: b"[" + _text(message) + b"]"),
    "truncated": ("malformed", lambda message: _text(message)[:-9]),
    "trailing_text": ("malformed", lambda message: _text(message) + b" and more"),
    "xml": ("malformed", lambda message: f"<id>{message['event_id']}</id>".encode()),
    "csv": ("malformed", lambda message: f"{message['event_id']},view,ada".encode()),
    "type_null": ("event_type_missing", _with(event_type=None)),
    "type_absent": ("event_type_missing", _without("event_type")),
    "type_unknown": ("event_type_unknown", _with(event_type="teleport")),
    "type_in_capitals": ("event_type_unknown", _with(event_type="VIEW")),
    "id_null": ("event_id_missing", _with(event_id=None)),
    "id_absent": ("event_id_missing", _without("event_id")),
    "id_empty": ("event_id_length", _with(event_id="")),
    "id_too_long": ("event_id_length", lambda message: _text(message | {"event_id": message["event_id"] + "x" * 128})),
    "subject_null": ("subject_missing", _with(subject_id=None)),
    "subject_absent": ("subject_missing", _without("subject_id")),
    "subject_email": ("subject_not_pseudonym", _with(subject_id="ada@example.org")),
    "subject_short": ("subject_not_pseudonym", _with(subject_id="0a1b")),
    "time_words": ("event_at_invalid", _with(event_at="soon")),
    "time_null": ("event_at_invalid", _with(event_at=None)),
    "time_absent": ("event_at_invalid", _without("event_at")),
    "time_without_zone": ("event_at_invalid", _with(event_at="2026-11-24T11:59:59")),
    "time_13th_month": ("event_at_invalid", _with(event_at="2026-13-24T11:59:59Z")),
    "time_year_2099": ("event_in_future", _with(event_at="2099-01-01T00:00:00Z")),
    "receipt_null": ("received_at_invalid", _with(received_at=None)),
    "receipt_words": ("received_at_invalid", _with(received_at="now")),
    "items_null": ("item_missing", _with(items=None)),
    "items_empty": ("item_missing", _with(items=[])),
    "items_text": ("malformed", _with(items="mug")),
    "items_object": ("malformed", _with(items={"item_id": "mug"})),
    "items_too_many": ("item_missing", _with(items=[{"item_id": "mug"}] * 1001)),
    "item_id_null": ("item_id_missing", _item(item_id=None)),
    "item_id_blank": ("item_id_missing", _item(item_id="  ")),
    "price_negative": ("price_negative", _item(price=-0.01)),
    "price_words": ("malformed", _item(price="free")),
    "quantity_zero": ("quantity_not_positive", _item(quantity=0)),
    "quantity_negative": ("quantity_not_positive", _item(quantity=-3)),
    "quantity_half": ("malformed", _item(quantity=1.5)),
    "consent_text": ("malformed", _with(consent="analytics")),
}
"""Kind -> reason, and how a good message becomes one."""
