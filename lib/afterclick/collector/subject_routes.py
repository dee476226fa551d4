"""Requests on behalf of a person, for holders of an ``admin`` key: consent and erasure. Ids are in bodies, never in URLs."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from afterclick.access_keys import KeyRing, Scope
from afterclick.collector.ingest import refuse
from afterclick.connectors.erasure_store import ErasureStore
from afterclick.connectors.redis_erasure import RedisEraser
from afterclick.connectors.subject_store import open_subject_store
from afterclick.errors import StoreUnavailableError
from afterclick.http_keys import require_key
from afterclick.pseudonyms import RawId
from afterclick.settings import Settings
from afterclick.vocabulary import Purpose
from afterclick.withdrawals import change_consent

_ANSWERS: dict[int | str, dict[str, Any]] = {
    401: {"description": "No key with the scope admin"},
    503: {"description": "A store does not answer: come back after Retry-After seconds"},
}
Text = Annotated[str, Field(min_length=1, max_length=512)]


class Subject(BaseModel):
    """A person by one of their ids."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["user", "anonymous"] = "user"
    id: Text

    def raw_id(self) -> RawId:
        """Return the id as the subject store takes it."""
        return RawId(self.kind, self.id)


class ConsentChange(Subject):
    """What a person said expressly."""

    consent: dict[Purpose, bool] = Field(min_length=1)


def add_subject_routes(app: FastAPI, settings: Settings, keys: KeyRing, clock: Callable[[], datetime]) -> None:
    """Add the routes; each answers only a request with an ``admin`` key."""
    store = open_subject_store(settings)

    # Checked before the body is: a wrong body tells nobody anything.
    guarded: dict[str, Any] = {"dependencies": [Depends(require_key(keys, Scope.ADMIN, clock))], "responses": _ANSWERS}

    @app.post("/v1/subjects/consent", summary="Record what a person said expressly", **guarded)
    async def consent(change: ConsentChange) -> Response:
        said = {purpose.value: is_granted for purpose, is_granted in change.consent.items()}
        return await _answered(change_consent, settings, change.raw_id(), said, source="api")

    @app.post("/v1/subjects/erase", summary="Erase a person; the answer names the receipt", **guarded)
    async def erase(subject: Subject) -> Response:
        return await _answered(_erase, subject.raw_id())

    def _erase(identifier: RawId) -> dict[str, Any]:
        erasure = ErasureStore(store).begin(identifier)
        if erasure:
            RedisEraser(settings.redis).forget(erasure.subject_ids)
        return {"erasure_id": erasure.erasure_id if erasure else None}


async def _answered(call: Callable[..., Any], *arguments: Any, **named: Any) -> Response:
    try:
        told = await asyncio.to_thread(call, *arguments, **named)
    except StoreUnavailableError as error:
        return refuse(503, str(error), retry_after=1)
    return JSONResponse({"success": True, **(told or {})})
