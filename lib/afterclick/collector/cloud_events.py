"""CloudEvents 1.0 -> messages.

``type`` names the event (its last part: ``com.shop.product_viewed``), ``source`` and ``id`` make its id, ``time`` is when
it happened, ``subject`` the known person unless `data` has ``userId`` or ``anonymousId``. `data` is a Segment message
(``properties``, ``context``) or just the properties, beside which ``context`` is read too.

References
----------
CloudEvents specification 1.0.2, JSON format and HTTP protocol binding.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from afterclick.collector.messages import Context, Identifier, Json, Message, Refused, own_id
from afterclick.collector.request_bodies import depth_of

_VERSION_SUFFIX = re.compile(r"\.v\d+$")
_LONGEST_ID = 128
_DEEPEST = 64
"""Nesting of packed data, as `collector.max_depth` is by default for all that is not."""
_PREFIX = "ce-"


class _CloudEvent(msgspec.Struct):
    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    data: Any = None
    data_base64: bytes | None = None
    datacontenttype: str | None = None


class _Data(msgspec.Struct, rename="camel"):
    user_id: Identifier = None
    anonymous_id: Identifier = None
    properties: Json | None = None
    context: Context | None = None


def decode_cloud_event(raw: bytes) -> Message:
    """Return the message of one structured CloudEvent.

    Raises
    ------
    Refused
        If a required attribute is missing, or its data is not an object.
    """
    try:
        event = msgspec.json.decode(raw, type=_CloudEvent)
        told = _data_of(event)
        data = msgspec.convert(told or {}, type=_Data)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise Refused("wrong_types", f"the message does not fit CloudEvents 1.0: {error}") from error
    if not event.specversion.startswith("1."):
        raise Refused("wrong_types", f"specversion {event.specversion[:40]!r} is not 1.0")
    identity = f"{event.source}/{event.id}"
    context = data.context or Context()
    context.library = context.library or {"name": "cloudevents"}
    has_person = data.user_id or data.anonymous_id
    return Message(
        type="track",
        event=_VERSION_SUFFIX.sub("", event.type).rpartition(".")[2],
        user_id=data.user_id if has_person else event.subject,
        anonymous_id=data.anonymous_id,
        message_id=identity if len(identity) <= _LONGEST_ID else own_id(identity.encode("utf-8", "surrogatepass")),
        properties=data.properties if data.properties is not None else told,
        context=context,
        original_timestamp=event.time,
    )


def _data_of(event: _CloudEvent) -> Any:
    """Return what an event says, packed or not; packed bytes that are no JSON by their type say nothing to us."""
    kind = (event.datacontenttype or "json").partition(";")[0].strip().lower()
    if not event.data_base64 or not kind.endswith("json"):
        return event.data
    if depth_of(event.data_base64, _DEEPEST) > _DEEPEST:
        raise Refused("too_deep", f"data_base64 is nested deeper than {_DEEPEST}")
    return msgspec.json.decode(event.data_base64)


def binary_to_structured(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a binary-mode request as one structured event; raises `msgspec.DecodeError` when its data is not JSON."""
    attributes = {
        name.removeprefix(_PREFIX): unquote(value) for name, value in headers.items() if name.startswith(_PREFIX)
    }
    data = msgspec.json.decode(body, type=msgspec.Raw) if body.strip() else msgspec.Raw(b"null")
    return msgspec.json.encode({**attributes, "data": data})
