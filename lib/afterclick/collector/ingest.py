"""One ingest request: body, write key, rate, messages, Kafka, answer."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from afterclick.access_keys import AccessKey, KeyRing, Scope
from afterclick.attribution import attribution_key
from afterclick.collector.event_sink import EventSink, OverloadedError
from afterclick.collector.inspector import Inspector
from afterclick.collector.messages import Arrival, Event, Refused, refusal
from afterclick.collector.rate_limits import RateLimits
from afterclick.collector.request_bodies import BodyError, read_body
from afterclick.collector.segment_messages import Draft, read_message
from afterclick.collector.wire_formats import Opened, Opener, whole_characters
from afterclick.crash_points import CrashPoint, crash_at
from afterclick.errors import StoreUnavailableError
from afterclick.http_keys import sent_key
from afterclick.settings import Settings
from afterclick.subject_directory import SubjectDirectory

_PATIENCE_SECONDS = 5.0
_TAKEN = JSONResponse({"success": True})
"""What nearly all requests are answered with; an answer says nothing of its request."""


class Metrics:
    """What Prometheus reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            "afterclick_collector_events", "Events by what became of them.", ["fate"], registry=self.registry
        )
        self.refused = Counter(
            "afterclick_collector_refused_requests",
            "Requests that left no event, by status.",
            ["status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "afterclick_collector_request_seconds", "Time to answer an ingest request.", registry=self.registry
        )
        self.of_fate = {fate: self.events.labels(fate) for fate in ("accepted", "no_consent", "rejected")}


@dataclass(frozen=True)
class Parts:
    """What an ingest request is answered with."""

    settings: Settings
    sink: EventSink
    keys: KeyRing
    people: SubjectDirectory
    clock: Callable[[], datetime]
    metrics: Metrics
    inspector: Inspector | None = None


class Ingest:
    """Takes one request and answers 200 only when Kafka has its events."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._settings = parts.settings.collector
        self._rates = RateLimits(self._settings.events_per_second)
        self._origins = frozenset(self._settings.allowed_origins)
        privacy = parts.settings.privacy
        secrets = (privacy.pseudonym_key, *privacy.previous_pseudonym_keys)
        self._attribution_keys = tuple(attribution_key(secret.get_secret_value().encode()) for secret in secrets)

    async def take(self, request: Request, opener: Opener, *, call: str | None = None, limit: int) -> Response:
        """Answer 200 when every usable message is durable, and say which were not usable.

        Parameters
        ----------
        call
            Message type when the path says it.
        limit
            Largest body in bytes that is accepted.
        """
        with self._parts.metrics.seconds.time():
            answer = await self._take(request, opener, call, limit)
        if answer.status_code != 200:  # noqa: PLR2004
            self._parts.metrics.refused.labels(str(answer.status_code)).inc()
        return answer

    async def _take(self, request: Request, opener: Opener, call: str | None, limit: int) -> Response:
        if not self._is_allowed_origin(request.headers.get("origin")):
            return refuse(
                403, "pages of this origin may not send events; collector.allowed_origins lists those that may"
            )
        arrival = _arrival(request, self._parts.clock(), call, self._attribution_keys)
        try:
            body = await read_body(request, limit, self._settings)
        except BodyError as error:
            return refuse_body(error)
        if len(body) > limit:
            too_large = Refused("body_too_large", f"the request has more than {limit} bytes")
            return await self._refuse_whole(self._key(request, None), body, too_large, arrival)
        try:
            opened = _open(opener, request, body, arrival)
        except Refused as refused:
            return await self._refuse_whole(self._key(request, None), body, refused, arrival)
        return await self._publish(request, opened)

    async def _publish(self, request: Request, opened: Opened) -> Response:
        key = self._key(request, opened.write_key)
        if key is None:
            return _unknown_key()
        if len(opened.messages) > self._settings.max_batch_events:
            told = (
                f"the batch has {len(opened.messages)} messages, at most {self._settings.max_batch_events} may be sent"
            )
            return await self._refuse_whole(key, opened.messages[0], Refused("batch_too_long", told), opened.arrival)
        now = time.monotonic()  # not when it began to arrive: a slow body would owe what others were given since
        if wait := self._rates.seconds_to_wait(key.key_id, len(opened.messages), key.events_per_second, now):
            return refuse(429, "this key sends faster than it may", retry_after=wait)
        drafts, rejected = self._read(opened)
        events, failure = await self._deliver_allowed(drafts, [stub for stub, _ in rejected])
        if failure:
            return failure
        self._count(accepted=len(events), no_consent=len(drafts) - len(events), rejected=len(rejected))
        told_of = [told for _, told in rejected]
        if rejected and len(rejected) == len(opened.messages):
            return JSONResponse({"success": False, "error": told_of[0]["message"], "rejected": told_of}, 400)
        return JSONResponse({"success": True, "rejected": told_of}) if rejected else _TAKEN

    def _read(self, opened: Opened) -> tuple[list[Draft], list[tuple[Event, dict[str, Any]]]]:
        drafts: list[Draft] = []
        rejected: list[tuple[Event, dict[str, Any]]] = []
        for index, raw in enumerate(opened.messages):
            try:
                drafts.append(read_message(raw, opened.arrival, self._settings))
            except Refused as refused:
                told = {"index": index, "reason": refused.reason, "message": str(refused)}
                rejected.append((refusal(raw, refused.reason, opened.arrival), told))
                self._inspect_bad(raw, refused.reason, str(refused))
        return drafts, rejected

    async def _deliver_allowed(self, drafts: list[Draft], stubs: list[Event]) -> tuple[list[Event], Response | None]:
        """Deliver what the people of the drafts allow."""
        try:
            people = await self._parts.people.admit([draft.claim for draft in drafts])
        except StoreUnavailableError as error:
            return [], refuse(503, str(error), retry_after=1)
        found = [draft.event(person) for draft, person in zip(drafts, people, strict=True)]
        events = [event for event in found if event is not None]
        if self._parts.inspector:
            self._parts.inspector.note_good(events, without_consent=len(drafts) - len(events))
        return events, await self._deliver([*events, *stubs])

    async def _refuse_whole(self, key: AccessKey | None, raw: bytes, refused: Refused, arrival: Arrival) -> Response:
        """Refuse a request that is not read message by message; one stub stands for it."""
        if key is None:
            return _unknown_key()
        if failure := await self._deliver([refusal(raw, refused.reason, arrival)]):
            return failure
        self._inspect_bad(raw, refused.reason, str(refused))
        self._count(rejected=1)
        return refuse(400, str(refused))

    async def _deliver(self, events: list[Event]) -> Response | None:
        try:
            await self._parts.sink.publish(events)
        except OverloadedError as error:
            return refuse(429, str(error), retry_after=1)
        except StoreUnavailableError as error:
            return refuse(503, str(error), retry_after=1)
        crash_at(CrashPoint.REPORT_IN, self._parts.settings.faults.crash_point)
        return None

    def _key(self, request: Request, inside: str | None) -> AccessKey | None:
        return self._parts.keys.find(sent_key(request, inside), Scope.INGEST, self._parts.clock())

    def _is_allowed_origin(self, origin: str | None) -> bool:
        return origin is None or "*" in self._origins or origin in self._origins

    def _inspect_bad(self, raw: bytes, reason: str, told: str) -> None:
        if self._parts.inspector:
            self._parts.inspector.note_bad(raw, reason, told)

    def _count(self, **fates: int) -> None:
        for fate, count in fates.items():
            if count:
                self._parts.metrics.of_fate[fate].inc(count)


def _open(opener: Opener, request: Request, body: bytes, arrival: Arrival) -> Opened:
    try:
        try:
            return opener(request, body, arrival)
        except msgspec.DecodeError:
            return opener(request, whole_characters(body), arrival)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("not_json", f"the body is not a JSON message or batch: {error}") from error
    except RecursionError as error:
        raise Refused("too_deep", "the body is not a JSON message or batch: it is nested too deep") from error


def refuse(status: int, told: str, *, retry_after: int | None = None) -> Response:
    """Return an answer that says why not."""
    headers = {"Retry-After": str(retry_after)} if retry_after else None
    return JSONResponse({"success": False, "error": told}, status, headers=headers)


def refuse_body(error: BodyError) -> Response:
    """Return an answer after which the connection ends."""
    kind = _AnswerBeforeTheEnd if error.rest_follows else JSONResponse
    return kind({"success": False, "error": str(error)}, error.status, headers={"Connection": "close"})


class _AnswerBeforeTheEnd(JSONResponse):
    """Answers at once, then lets a client that still sends come to its end.

    Many clients read only after they have sent; a connection closed meanwhile hides the answer from them.
    """

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while (await receive()).get("more_body", False):
                    await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _unknown_key() -> Response:
    return refuse(401, "the write key is not known; send it as Basic auth user, in the body (writeKey) or in the query")


def _arrival(request: Request, now: datetime, call: str | None, attribution_keys: tuple[bytes, ...]) -> Arrival:
    user_agent = request.headers.get("user-agent", "")
    # A server's own address and user agent say nothing of the person.
    is_browser = user_agent.startswith("Mozilla/")
    return Arrival(
        now,
        call,
        opts_out=request.headers.get("sec-gpc") == "1",
        user_agent=user_agent if is_browser else None,
        ip=request.client.host if is_browser and request.client else None,
        attribution_keys=attribution_keys,
    )
