"""What every wire format becomes: a `Message`, and the `Event` that goes to Kafka."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import msgspec

Json = dict[str, Any]
Identifier = str | int | None
Moment = str | int | float | None
encode = msgspec.json.Encoder().encode


class Context(msgspec.Struct, rename="camel"):
    """The parts of ``context`` we read; others are let go."""

    consent: Json | None = None
    consent_management: Json | None = None
    page: Json | None = None
    library: Json | None = None
    campaign: Json | None = None
    device: Json | None = None
    user_agent: str | None = None
    ip: str | None = None


class Message(msgspec.Struct, rename="camel"):
    """A message of the Segment spec; every field may be absent."""

    type: str | None = None
    event: str | None = None
    name: str | None = None
    user_id: Identifier = None
    anonymous_id: Identifier = None
    previous_id: Identifier = None
    message_id: Identifier = None
    properties: Json | None = None
    context: Context | None = None
    original_timestamp: Moment = None
    timestamp: Moment = None
    sent_at: Moment = None


_read_segment = msgspec.json.Decoder(Message).decode


class Refused(Exception):  # noqa: N818 - an outcome, not a fault of ours
    """Raised when a message cannot become an event; `reason` is the code that quarantine shows."""

    def __init__(self, reason: str, told: str) -> None:
        super().__init__(told)
        self.reason = reason


def decode_segment(raw: bytes) -> Message:
    """Return a message of the Segment spec.

    Raises
    ------
    Refused
        If a field has another type than the spec says.
    """
    try:
        return _read_segment(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("wrong_types", f"the message does not fit the Segment spec: {error}") from error


@dataclass(frozen=True)
class Arrival:
    """What one request says about all of its messages."""

    received_at: datetime
    call: str | None = None
    """Message type when the path says it."""
    sent_at: Moment = None
    context: Context | None = None
    decode: Callable[[bytes], Message] = decode_segment
    """Reads one member of the request's wire format."""
    opts_out: bool = False
    """The browser sent ``Sec-GPC: 1``."""
    user_agent: str | None = None
    """Of the person's own browser; None when a server sent the request."""
    ip: str | None = None
    """Of the person's own browser; None when a server sent the request."""
    attribution_keys: tuple[bytes, ...] = ()
    """Of tokens that say which list an event follows from."""

    @cached_property
    def received_text(self) -> str:
        """``received_at`` as events say it."""
        return iso(self.received_at)


class Event(msgspec.Struct, frozen=True):
    """A Kafka message: `key` is the subject, None for the stub of a refused one."""

    key: bytes | None
    value: bytes


def refusal(raw: bytes, reason: str, arrival: Arrival) -> Event:
    """Return the stub that keeps a refused message accountable; it holds nothing personal."""
    stub = {
        "event_id": own_id(raw),
        "received_at": arrival.received_text,
        "rejected_reason": reason,
        "source": "collector",
    }
    return Event(None, encode(stub))


def own_id(raw: bytes) -> str:
    """Return an id that a retry of the same bytes gets again."""
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def as_text(value: Any) -> Any:
    """Return whole numbers as text: clients send ids both ways."""
    return str(value) if type(value) is int else value


def iso(moment: datetime) -> str:
    """Return UTC with milliseconds."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
