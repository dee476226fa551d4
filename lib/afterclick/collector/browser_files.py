"""What browser clients ask for before they send: their configuration, the client itself, our page script."""

from collections.abc import Callable
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, JSONResponse, Response

from afterclick.access_keys import KeyRing, Scope
from afterclick.collector.ingest import refuse
from afterclick.http_keys import sent_key
from afterclick.setting_sections import CollectorSettings

_JAVASCRIPT = "text/javascript"
_NO_BUNDLE = (
    "this collector has no browser client: unpack the npm package @segment/analytics-next and set "
    "collector.browser_bundle to its folder dist/umd"
)
_ANSWERS: dict[int | str, dict[str, Any]] = {404: {"description": "Unknown write key, or no such file"}}


def add_browser_files(app: FastAPI, settings: CollectorSettings, keys: KeyRing, clock: Callable[[], datetime]) -> None:
    """Add the routes of ``@segment/analytics-next``, ``@rudderstack/analytics-js`` and our page script."""
    routes = _Routes(settings, keys, clock)
    unknown_key: dict[int | str, dict[str, Any]] = {401: {"description": "Unknown write key"}}

    def add(
        path: str, answer: Callable[..., Any], summary: str, *, responses: Any = None, kind: Any = JSONResponse
    ) -> None:
        app.get(path, summary=summary, responses=responses, response_class=kind)(answer)

    add("/v1/projects/{write_key}/settings", routes.segment_settings, "Settings of Segment clients", responses=_ANSWERS)
    for path in ("/sourceConfig", "/sourceConfig/"):
        add(path, routes.source_config, "Settings of RudderStack clients", responses=unknown_key)
    client = "/analytics.js/v1/{write_key}/analytics.min.js"
    add(client, routes.client, "Segment's browser client", responses=_ANSWERS, kind=_Script)
    add(
        "/analytics-next/bundles/{name}",
        routes.part,
        "Parts of Segment's browser client",
        responses=_ANSWERS,
        kind=_Script,
    )
    add("/afterclick.js", _page_script, "Our page script: dwell, scroll, forms", kind=_Script)


class _Script(Response):
    media_type = _JAVASCRIPT


class _Routes:
    def __init__(self, settings: CollectorSettings, keys: KeyRing, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock

    async def segment_settings(self, request: Request, write_key: str) -> Response:
        if not self._is_known(write_key):
            return refuse(404, "the write key is not known")
        return JSONResponse(_segment_settings(write_key, _address(request, self._settings)))

    async def source_config(self, request: Request) -> Response:
        key = sent_key(request)
        if not self._is_known(key):
            return refuse(401, "the write key is not known; send it as Basic auth user or in the query (writeKey)")
        return JSONResponse(_source_config(str(key)))

    async def client(self, write_key: str) -> Response:
        if not self._is_known(write_key):
            return refuse(404, "the write key is not known")
        return _bundle_file(self._settings, "standalone.js")

    async def part(
        self, name: Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9._-]+\.js$", max_length=100)]
    ) -> Response:
        return _bundle_file(self._settings, name)

    def _is_known(self, key: str | None) -> bool:
        return self._keys.find(key, Scope.INGEST, self._clock()) is not None


async def _page_script() -> Response:
    script = files("afterclick.collector").joinpath("page_script.js").read_bytes()
    return Response(script, media_type=_JAVASCRIPT, headers={"Cache-Control": "public, max-age=3600"})


def _bundle_file(settings: CollectorSettings, name: str) -> Response:
    path = settings.browser_bundle / name if settings.browser_bundle else Path()
    if not path.is_file():
        return refuse(404, "there is no such file" if settings.browser_bundle else _NO_BUNDLE)
    return FileResponse(path, media_type=_JAVASCRIPT, headers={"Cache-Control": "public, max-age=300"})


def _address(request: Request, settings: CollectorSettings) -> tuple[str, str]:
    scheme, _, host = (settings.public_url or f"{request.url.scheme}://{request.url.netloc}").partition("://")
    return scheme, host.rstrip("/")


def _segment_settings(write_key: str, address: tuple[str, str]) -> dict[str, Any]:
    scheme, host = address
    ours = {
        "apiKey": write_key,
        "apiHost": f"{host}/v1",
        "protocol": scheme,
        "unbundledIntegrations": [],
        "addBundledMetadata": True,
        "maybeBundledConfigIds": {},
        "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
    }
    return {
        "integrations": {"Segment.io": ours},
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def _source_config(write_key: str) -> dict[str, Any]:
    return {
        "source": {
            "id": "afterclick",
            "name": "afterclick",
            "writeKey": write_key,
            "workspaceId": "afterclick",
            "enabled": True,
            "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
            "connections": [],
            "destinations": [],
        }
    }
