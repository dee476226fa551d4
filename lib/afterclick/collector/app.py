"""The collector's routes. What a request goes through is `ingest`; how each client writes is `wire_formats`.

References
----------
Segment HTTP Tracking API, its short browser paths, RudderStack's beacon, Snowplow's tp2, CloudEvents over HTTP.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from afterclick.answered_first import Answered, AnsweredFirst
from afterclick.background_tasks import for_ever, in_background
from afterclick.collector.browser_files import add_browser_files
from afterclick.collector.event_names import CALLS
from afterclick.collector.event_sink import EventSink
from afterclick.collector.ingest import Ingest, Metrics, Parts, refuse
from afterclick.collector.inspector import Inspector, add_inspector
from afterclick.collector.subject_routes import add_subject_routes
from afterclick.collector.wire_formats import open_cloud_events, open_segment_batch, open_segment_message, open_snowplow
from afterclick.connectors.subject_store import open_subject_store
from afterclick.http_keys import keep_fresh, open_keys
from afterclick.request_ids import RequestIds
from afterclick.setting_sections import CollectorSettings
from afterclick.settings import Settings
from afterclick.subject_directory import POLL_SECONDS, SubjectDirectory
from afterclick.withdrawals import keep_following

_SHORT = {call[0]: call for call in CALLS if call not in {"alias"}} | {"a": "alias"}
_BATCHES = frozenset({"batch", "b", "import"})
_CLIENT_METRICS = "m"


def create_app(settings: Settings, sink: EventSink, clock: Callable[[], datetime]) -> FastAPI:
    """Return the application; it closes `sink` when it ends.

    Parameters
    ----------
    clock
        Says when a request arrives, aware UTC.
    """
    rules = settings.collector
    keys = open_keys(settings, [key.get_secret_value() for key in rules.write_keys], clock())
    inspector = Inspector() if rules.inspect and settings.environment == "local" else None
    metrics = Metrics()
    people = SubjectDirectory(open_subject_store(settings), size=settings.privacy.remembered_people)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        again = settings.keys.refresh_seconds
        async with in_background(
            for_ever(partial(keep_fresh, keys, again), again, "reading the keys anew"),
            for_ever(people.follow_changes, POLL_SECONDS, "following changes of people"),
            for_ever(partial(keep_following, settings), POLL_SECONDS, "following withdrawals"),
        ):
            yield
        sink.close()
        keys.close()

    app = FastAPI(title="Afterclick collector", lifespan=lifespan, docs_url="/docs", redoc_url=None)
    _add_ingest(app, Ingest(Parts(settings, sink, keys, people, clock, metrics, inspector)), rules)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=rules.allowed_origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),  # clients add their own when they send again
        max_age=3600,
    )
    add_browser_files(app, rules, keys, clock)
    add_subject_routes(app, settings, keys, clock)
    if inspector:
        add_inspector(app, inspector)
    _add_operations(app, sink, metrics)
    app.add_middleware(RequestIds)
    return app


def _add_ingest(app: FastAPI, ingest: Ingest, rules: CollectorSettings) -> None:
    @app.post("/com.snowplowanalytics.snowplow/tp2", summary="A Snowplow payload", **_described("SnowplowPayload"))
    async def snowplow(request: Request) -> Response:
        return await ingest.take(request, open_snowplow, limit=rules.max_batch_bytes)

    @app.post("/v1/cloudevents", summary="CloudEvents: structured, batched or binary", **_described("CloudEvent"))
    async def cloud_events(request: Request) -> Response:
        return await ingest.take(request, open_cloud_events, limit=rules.max_batch_bytes)

    @app.post("/beacon/v1/batch", summary="A batch that a page sends as it closes", **_described("Batch"))
    async def beacon(request: Request) -> Response:
        return await ingest.take(request, open_segment_batch, limit=rules.max_batch_bytes)

    @app.post("/v1/{call}", summary="One Segment message, or a batch of them", **_described("Batch"))
    async def post(request: Request, call: Annotated[str, Path(examples=["track"])]) -> Response:
        return await _take_call(ingest, request, call, rules)

    async def post_first(request: Request) -> Response:
        return await _take_call(ingest, request, request.path_params["call"], rules)

    first = {"/v1/cloudevents": Answered(cloud_events), "/v1/": Answered(post_first, "call")}
    app.add_middleware(AnsweredFirst, "POST", first)


async def _take_call(ingest: Ingest, request: Request, call: str, rules: CollectorSettings) -> Response:
    if call in _BATCHES:
        return await ingest.take(request, open_segment_batch, limit=rules.max_batch_bytes)
    if call == _CLIENT_METRICS:  # the browser client's own statistics, which we do not keep
        return JSONResponse({"success": True})
    call = _SHORT.get(call, call)
    if call not in CALLS:
        return refuse(404, f"there is no /v1/{call[:40]}; calls are batch, {', '.join(sorted(CALLS))}")
    return await ingest.take(request, open_segment_message, call=call, limit=rules.max_event_bytes)


def _add_operations(app: FastAPI, sink: EventSink, metrics: Metrics) -> None:
    @app.get("/health/live", summary="Is the process up?")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get(
        "/health/ready", summary="Can events be delivered?", responses={503: {"description": "Kafka is not connected"}}
    )
    def ready() -> Response:  # in a thread: it opens a connection
        return (
            JSONResponse({"status": "ready"})
            if sink.is_ready()
            else refuse(503, "Kafka is not connected", retry_after=1)
        )

    @app.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _described(body: str) -> dict[str, Any]:
    """Return what OpenAPI says of an ingest route: bodies are decoded by us, whatever their content type."""
    schemas: dict[str, Any] = {
        "Batch": {
            "type": "object",
            "required": ["batch"],
            "properties": {"batch": {"type": "array", "items": {"type": "object"}}, "writeKey": {"type": "string"}},
        },
        "SnowplowPayload": {
            "type": "object",
            "required": ["data"],
            "properties": {"data": {"type": "array", "items": {"type": "object"}}},
        },
        "CloudEvent": {"type": "object", "required": ["specversion", "id", "source", "type"]},
    }
    content = {"schema": schemas[body]}
    told = {
        400: "Nothing of it is usable; the answer says why. Sending it again is pointless",
        401: "Unknown write key",
        403: "Origin not allowed",
        404: "No such call",
        408: "The body did not arrive in time",
        413: "Far too large; not read",
        415: "Unknown content encoding",
        429: "Too fast: come back after Retry-After seconds",
        503: "Kafka does not confirm: come back after Retry-After seconds",
    }
    return {
        "responses": {status: {"description": text} for status, text in told.items()},
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": content, "text/plain": content}}
        },
    }
