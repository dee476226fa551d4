"""One Segment message -> one event for Kafka, a refusal with its reason, or nothing for want of consent.

Only what makes a message unusable here is refused here: its size, its frame, its person. A wrong price
or time goes through as it is, and the jobs' suite quarantines it with its raw bytes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from afterclick.collector.event_names import CALLS, event_type
from afterclick.pseudonyms import pseudonym
from afterclick.setting_sections import CollectorSettings
from afterclick.vocabulary import ITEM_EVENT_TYPES

Json = dict[str, Any]
Identifier = str | int | None
_encode = msgspec.json.Encoder().encode


class Context(msgspec.Struct):
    """The parts of ``context`` we read; others are let go."""

    consent: Json | None = None
    page: Json | None = None
    library: Json | None = None


class Message(msgspec.Struct, rename="camel"):
    """A message of the Segment spec; every field may be absent."""

    type: str | None = None
    event: str | None = None
    name: str | None = None
    user_id: Identifier = None
    anonymous_id: Identifier = None
    message_id: Identifier = None
    properties: Json | None = None
    context: Context | None = None
    original_timestamp: str | None = None
    timestamp: str | None = None
    sent_at: str | None = None


class Refused(Exception):  # noqa: N818 - an outcome, not a fault of ours
    """Raised when a message cannot become an event; `reason` is the code that quarantine shows."""

    def __init__(self, reason: str, told: str) -> None:
        super().__init__(told)
        self.reason = reason


@dataclass(frozen=True)
class Arrival:
    """What one request says about all of its messages."""

    received_at: datetime
    call: str | None = None
    sent_at: str | None = None
    context: Context | None = None


@dataclass(frozen=True)
class Event:
    """A Kafka message: `key` is the subject, None for the stub of a refused one."""

    key: bytes | None
    value: bytes


def read_message(raw: bytes, arrival: Arrival, settings: CollectorSettings, key: bytes) -> Event | None:
    """Return the event of one message; None when its person granted no purpose.

    Parameters
    ----------
    raw
        The message's own JSON.
    key
        Pseudonym key.

    Raises
    ------
    Refused
        If it is too large, not of the spec's types, of an unknown call, or names no person.
    """
    if len(raw) > settings.max_event_bytes:
        raise Refused(
            "event_too_large", f"the message has {len(raw)} bytes, at most {settings.max_event_bytes} are accepted"
        )
    try:
        message = msgspec.json.decode(raw, type=Message)
    except msgspec.DecodeError as error:
        raise Refused("wrong_types", f"the message does not fit the Segment spec: {error}") from error
    call = arrival.call or message.type or ""
    if call not in CALLS:
        raise Refused("unknown_call", f"type {call!r} is not one of {', '.join(sorted(CALLS))}")
    granted = granted_purposes(message.context or arrival.context, settings.consent_categories)
    if not granted:
        return None
    subject_id = _subject(message, key)
    return Event(
        subject_id.encode(),
        _encode(_fields(message, call, raw, arrival) | {"subject_id": subject_id, "consent": granted}),
    )


def refusal(raw: bytes, reason: str, arrival: Arrival) -> Event:
    """Return the stub that keeps a refused message accountable; it holds nothing personal."""
    stub = {
        "event_id": _own_id(raw),
        "received_at": _iso(arrival.received_at),
        "rejected_reason": reason,
        "source": "collector",
    }
    return Event(None, _encode(stub))


def granted_purposes(context: Context | None, categories: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the purposes whose category the person switched on; unknown is denied."""
    consent = (context.consent if context else None) or {}
    preferences = consent.get("categoryPreferences")
    if not isinstance(preferences, dict):
        return []
    return [purpose for purpose, names in categories.items() if any(preferences.get(name) is True for name in names)]


def corrected_time(message: Message, sent_at: str | None, received_at: datetime) -> str:
    """Return when it happened by our clock: ``received - (sent - original)``.

    A time that cannot be read is passed on as it is: the suite quarantines it.

    References
    ----------
    Segment spec, "Timestamps in Segment".
    """
    original = message.original_timestamp or message.timestamp
    if original is None:
        return _iso(received_at)
    happened, sent = _read_time(original), _read_time(message.sent_at or sent_at)
    if happened is None:
        return original
    return _iso(received_at - (sent - happened) if sent else happened)


def _fields(message: Message, call: str, raw: bytes, arrival: Arrival) -> Json:
    properties = message.properties or {}
    kind = event_type(call, message.event)
    context = message.context or arrival.context or Context()
    page = context.page or {}
    library = (context.library or {}).get("name")
    return {
        "event_id": _text(message.message_id) or _own_id(raw),
        "event_type": kind.value,
        "event_name": message.event or message.name,
        "event_at": corrected_time(message, arrival.sent_at, arrival.received_at),
        "received_at": _iso(arrival.received_at),
        "items": _items(properties) if kind in ITEM_EVENT_TYPES else None,
        "order_id": _text(properties.get("order_id") or properties.get("orderId")),
        "currency": properties.get("currency"),
        "page_path": page.get("path") or properties.get("path"),
        "source": library if isinstance(library, str) else "segment",
        "rejected_reason": None,
    }


def _subject(message: Message, key: bytes) -> str:
    for kind, identifier in (("user", message.user_id), ("anonymous", message.anonymous_id)):
        if text := _text(identifier):
            return pseudonym(str(text), kind=kind, key=key)
    raise Refused("no_subject", "the message has neither userId nor anonymousId")


def _items(properties: Json) -> Any:
    products = properties.get("products")
    if products is None:
        return [_item(properties)]
    return (
        [_item(product) if isinstance(product, dict) else product for product in products]
        if isinstance(products, list)
        else products
    )


def _item(product: Json) -> Json:
    item_id = next(
        (product[name] for name in ("product_id", "productId", "id", "sku") if product.get(name) is not None), None
    )
    return {"item_id": _text(item_id), "quantity": product.get("quantity"), "price": product.get("price")}


def _text(value: Any) -> Any:
    """Return whole numbers as text: clients send ids both ways."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _own_id(raw: bytes) -> str:
    """Return an id that a retry of the same bytes gets again."""
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def _read_time(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
