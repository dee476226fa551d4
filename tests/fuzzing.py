"""What the fuzzers run: bytes into every decoder of the collector; only refusals may come out."""

import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from fastapi import Request

from afterclick.collector.messages import Arrival, Refused, encode
from afterclick.collector.request_bodies import BodyError, BoundedBody, depth_of
from afterclick.collector.segment_messages import read_message
from afterclick.collector.tcf import TcfError, decode_purposes
from afterclick.collector.wire_formats import (
    Opener,
    open_cloud_events,
    open_segment_batch,
    open_segment_message,
    open_snowplow,
)
from afterclick.setting_sections import CollectorSettings
from builders import NOW

RULES = CollectorSettings()
GRANTED = {"categoryPreferences": {"analytics": True}}
FIELDS = {"event_id", "event_type", "event_at", "received_at", "rejected_reason"}


def run_one(data: bytes) -> None:
    """Feed `data` to the decoder that its first byte chooses; any other error than a refusal is a finding."""
    TARGETS[data[0] % len(TARGETS)](data[1:]) if data else None


def _opened(opener: Opener, call: str | None = None) -> Callable[[bytes], None]:
    def run(body: bytes) -> None:
        arrival = Arrival(NOW, call)
        try:
            opened = opener(_request(), body, arrival)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        for raw in opened.messages:
            _read(raw, opened.arrival)

    return run


def _read(raw: bytes, arrival: Arrival) -> None:
    try:
        draft = read_message(raw, arrival, RULES)
    except Refused:
        return
    assert draft.claim.identifier.text
    assert set(json.loads(encode(draft.fields))) >= FIELDS


def _binary_cloud_event(body: bytes) -> None:
    name, _, rest = body.partition(b"\n")
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/x", "ce-type": name.decode("latin-1")}
    try:
        opened = open_cloud_events(_request(**headers), rest, Arrival(NOW))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    _read(opened.messages[0], opened.arrival)


def _body(data: bytes) -> None:
    try:
        body = BoundedBody(("", "gzip", "deflate")[len(data) % 3], 1000, RULES)
        body.add(data[: len(data) // 2])
        body.add(data[len(data) // 2 :])
        assert len(body.content()) <= 1001
    except (BodyError, zlib.error):
        return


def _tc_string(data: bytes) -> None:
    try:
        purposes = decode_purposes(data.decode("latin-1"), datetime(2021, 2, 3, tzinfo=UTC))
    except TcfError:
        return
    assert purposes <= frozenset(range(1, 25))


def _depth(data: bytes) -> None:
    assert 0 <= depth_of(data, 0) <= len(data)


def _request(**headers: str) -> Request:
    return Request({"type": "http", "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]})


TARGETS: tuple[Callable[[bytes], None], ...] = (
    _opened(open_segment_batch),
    _opened(open_segment_message, "track"),
    _opened(open_snowplow),
    _opened(open_cloud_events),
    _binary_cloud_event,
    _tc_string,
    _depth,
    _body,
)
