"""The collector's HTTP side: Segment's tracking API.

References
----------
Segment HTTP Tracking API: ``/v1/batch track page screen identify group alias``, write key by Basic auth.
"""

import base64
import binascii
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Path, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

from afterclick.collector.event_names import CALLS
from afterclick.collector.event_sink import EventSink, OverloadedError
from afterclick.collector.segment_messages import Arrival, Context, Event, Refused, read_message, refusal
from afterclick.crash_points import CrashPoint, crash_at
from afterclick.errors import StoreUnavailableError
from afterclick.setting_sections import CollectorSettings
from afterclick.settings import Settings


class Envelope(msgspec.Struct, rename="camel"):
    """The frame of ``/v1/batch``; its members are decoded one by one, so that a bad one does not spoil the rest."""

    batch: list[msgspec.Raw]
    sent_at: str | None = None
    context: Context | None = None


class WriteKeyed(msgspec.Struct, rename="camel"):
    """The write key in a body."""

    write_key: str | None = None


class Metrics:
    """What Prometheus reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            "afterclick_collector_events", "Events by what became of them.", ["fate"], registry=self.registry
        )
        self.seconds = Histogram(
            "afterclick_collector_request_seconds", "Time to answer an ingest request.", registry=self.registry
        )
        for fate in ("accepted", "no_consent", "rejected"):
            self.events.labels(fate)


def create_app(settings: Settings, sink: EventSink, clock: Callable[[], datetime]) -> FastAPI:
    """Return the application; it closes `sink` when it ends.

    Parameters
    ----------
    clock
        Says when a request arrives, aware UTC.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        sink.close()

    app = FastAPI(title="Afterclick collector", lifespan=lifespan, docs_url="/docs", redoc_url=None)
    ingest = Ingest(settings, sink, clock, metrics)

    @app.post("/v1/{call}", summary="One Segment message, or a batch of them")
    async def post(request: Request, call: Annotated[str, Path(examples=["track"])]) -> Response:
        if call != "batch" and call not in CALLS:
            return _answer(404, f"there is no /v1/{call}; calls are batch, {', '.join(sorted(CALLS))}")
        with metrics.seconds.time():
            return await ingest.take(request, call)

    @app.get("/health/live", summary="Is the process up?")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", summary="Can events be delivered?")
    def ready() -> Response:  # in a thread: it opens a connection
        return (
            JSONResponse({"status": "ready"})
            if sink.is_ready()
            else _answer(503, "Kafka is not connected", retry_after=1)
        )

    @app.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


class Ingest:
    """Takes one request: body, write key, messages, Kafka, answer."""

    def __init__(self, settings: Settings, sink: EventSink, clock: Callable[[], datetime], metrics: Metrics) -> None:
        self._settings: CollectorSettings = settings.collector
        self._pseudonym_key = settings.privacy.pseudonym_key.get_secret_value().encode()
        self._write_keys = [key.get_secret_value().encode() for key in settings.collector.write_keys]
        self._sink = sink
        self._crash_point = settings.faults.crash_point
        self._clock = clock
        self._metrics = metrics

    async def take(self, request: Request, call: str) -> Response:
        """Answer 200 when every usable message is durable, and say which were not usable."""
        arrival = Arrival(self._clock(), call=None if call == "batch" else call)
        limit = self._settings.max_batch_bytes if call == "batch" else self._settings.max_event_bytes
        body = await _read_body(request, limit)
        if not self._is_known(_write_key(request, body)):
            return _answer(
                401, "the write key is not known; send it as Basic auth user, in the body (writeKey) or in the query"
            )
        if len(body) > limit:
            told = f"the request has more than {limit} bytes"
            return await self._refuse_whole(body, "body_too_large", told, arrival)
        try:
            messages, arrival = _open_envelope(body, arrival)
        except msgspec.DecodeError as error:
            return await self._refuse_whole(
                body, "not_json", f"the body is not a JSON message or batch: {error}", arrival
            )
        return await self._publish(messages, arrival)

    async def _publish(self, messages: list[bytes], arrival: Arrival) -> Response:
        events: list[Event] = []
        rejected: list[dict[str, Any]] = []
        without_consent = 0
        for index, raw in enumerate(messages):
            try:
                event = read_message(raw, arrival, self._settings, self._pseudonym_key)
            except Refused as refused:
                event = refusal(raw, refused.reason, arrival)
                rejected.append({"index": index, "reason": refused.reason, "message": str(refused)})
            if event is None:
                without_consent += 1
            else:
                events.append(event)
        if failure := await self._deliver(events):
            return failure
        self._count(accepted=len(events) - len(rejected), no_consent=without_consent, rejected=len(rejected))
        if rejected and len(rejected) == len(messages):
            return JSONResponse({"success": False, "error": rejected[0]["message"], "rejected": rejected}, 400)
        return JSONResponse({"success": True, "rejected": rejected} if rejected else {"success": True})

    async def _refuse_whole(self, body: bytes, reason: str, told: str, arrival: Arrival) -> Response:
        if failure := await self._deliver([refusal(body, reason, arrival)]):
            return failure
        self._count(rejected=1)
        return _answer(400, told)

    async def _deliver(self, events: list[Event]) -> Response | None:
        try:
            await self._sink.publish(events)
        except OverloadedError as error:
            return _answer(429, str(error), retry_after=1)
        except StoreUnavailableError as error:
            return _answer(503, str(error), retry_after=1)
        crash_at(CrashPoint.REPORT_IN, self._crash_point)
        return None

    def _is_known(self, key: bytes | None) -> bool:
        return key is not None and any(hmac.compare_digest(key, known) for known in self._write_keys)

    def _count(self, **fates: int) -> None:
        for fate, count in fates.items():
            self._metrics.events.labels(fate).inc(count)


def _open_envelope(body: bytes, arrival: Arrival) -> tuple[list[bytes], Arrival]:
    if arrival.call is not None:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return [body], arrival
    envelope = msgspec.json.decode(body, type=Envelope)
    return [bytes(raw) for raw in envelope.batch], Arrival(
        arrival.received_at, None, envelope.sent_at, envelope.context
    )


async def _read_body(request: Request, limit: int) -> bytes:
    """Return the body, or its beginning with one byte more than `limit`."""
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            break
    return b"".join(chunks)[: limit + 1]


def _write_key(request: Request, body: bytes) -> bytes | None:
    """Return the write key of Basic auth (the user), the body or the query, in this order."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[0]
        except (binascii.Error, ValueError):
            return None
    try:
        key = msgspec.json.decode(body, type=WriteKeyed).write_key
    except (msgspec.DecodeError, UnicodeDecodeError):
        key = None
    key = key or request.query_params.get("writeKey")
    return key.encode() if key else None


def _answer(status: int, told: str, *, retry_after: int | None = None) -> Response:
    headers = {"Retry-After": str(retry_after)} if retry_after else None
    return JSONResponse({"success": False, "error": told}, status, headers=headers)
