"""A request's body -> its messages, each still in its own bytes, and what they share.

Members of a batch are decoded one by one later, so that a bad one does not spoil the rest.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
from fastapi import Request

from afterclick.collector.cloud_events import binary_to_structured, decode_cloud_event
from afterclick.collector.messages import Arrival, Context, Moment
from afterclick.collector.snowplow_messages import decode_snowplow


@dataclass(frozen=True)
class Opened:
    """An opened request."""

    messages: list[bytes]
    arrival: Arrival
    write_key: str | None = None
    """The key inside the body, for clients that send none in a header."""


Opener = Callable[[Request, bytes, Arrival], Opened]


class _Envelope(msgspec.Struct, rename="camel"):
    """The frame of ``/v1/batch``."""

    batch: list[msgspec.Raw]
    sent_at: Moment = None
    context: Context | None = None
    write_key: str | None = None


_read_envelope = msgspec.json.Decoder(_Envelope).decode


class _Keyed(msgspec.Struct, rename="camel"):
    """A single message: only its key is looked at here."""

    write_key: str | None = None


class _SnowplowPayload(msgspec.Struct):
    data: list[msgspec.Raw]


class _SnowplowEvent(msgspec.Struct):
    aid: str | None = None


def whole_characters(body: bytes) -> bytes:
    r"""Return JSON with ``?`` for halves of characters; all other bodies as they are.

    JavaScript's ``"an emoji".substring`` and ``JSON.stringify`` make ``"\ud83d"`` of one cut in two: RFC 8259, section 8.2,
    allows it, and one such word must not cost all of a batch.
    """
    if b"\\ud" not in body.lower():
        return body
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode(errors="replace")
    except ValueError:  # something else is wrong with it
        return body


def open_segment_batch(_: Request, body: bytes, arrival: Arrival) -> Opened:
    """Open Segment's and RudderStack's ``/v1/batch``; raises `msgspec.DecodeError`."""
    envelope = _read_envelope(body)
    shared = replace(arrival, sent_at=envelope.sent_at, context=envelope.context)
    return Opened([bytes(raw) for raw in envelope.batch], shared, envelope.write_key)


def open_segment_message(_: Request, body: bytes, arrival: Arrival) -> Opened:
    """Open one Segment message; raises `msgspec.DecodeError`."""
    return Opened([body], arrival, msgspec.json.decode(body, type=_Keyed).write_key)


def open_snowplow(_: Request, body: bytes, arrival: Arrival) -> Opened:
    """Open a Snowplow payload; the app id of its first event is the write key. Raises `msgspec.DecodeError`."""
    events = [bytes(raw) for raw in msgspec.json.decode(body, type=_SnowplowPayload).data]
    key = msgspec.json.decode(events[0], type=_SnowplowEvent).aid if events else None
    return Opened(events, replace(arrival, decode=decode_snowplow), key)


def open_cloud_events(request: Request, body: bytes, arrival: Arrival) -> Opened:
    """Open CloudEvents: structured, a batch of structured ones, or binary. Raises `msgspec.DecodeError`."""
    shared = replace(arrival, decode=decode_cloud_event)
    if request.headers.get("ce-specversion"):
        return Opened([binary_to_structured(request.headers, body)], shared)
    if body.lstrip()[:1] == b"[":
        return Opened([bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])], shared)
    msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return Opened([body], shared)
