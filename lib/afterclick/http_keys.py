"""Access keys of HTTP requests: which key was sent, is it in force, and routes that need one."""

import asyncio
import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from fastapi import HTTPException, Request

from afterclick.access_keys import KeyRing, Scope
from afterclick.connectors.key_store import KeyStore
from afterclick.errors import StoreUnavailableError
from afterclick.settings import Settings

logger = logging.getLogger(__name__)


def open_keys(settings: Settings, configured: Iterable[str], now: datetime) -> KeyRing:
    """Return the configured keys and those of the key store; raises `StoreUnavailableError`."""
    url = settings.keys.url
    return KeyRing(configured, KeyStore(url.get_secret_value()) if url else None, now)


async def keep_fresh(keys: KeyRing, seconds: float) -> None:
    """Read the keys again for ever; while the store is away the last ones stay in force."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(keys.refresh)
        except StoreUnavailableError as error:
            logger.warning("keys not refreshed: %s", error)


def sent_key(request: Request, inside: str | None = None) -> str | None:
    """Return the key of Basic auth (the user), of the body, or of the query, in this order."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[0].decode()
        except (binascii.Error, ValueError):
            return None
    return inside or request.query_params.get("writeKey")


def require_key(keys: KeyRing, scope: Scope, clock: Callable[[], datetime]) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency for routes that need a key with `scope`, sent as Basic auth user."""

    async def check(request: Request) -> None:
        if request.query_params.get("writeKey") or keys.find(sent_key(request), scope, clock()) is None:
            told = f"send a key with the scope {scope} as Basic auth user; `afterclick keys create --scope {scope}` makes one"
            raise HTTPException(401, told, headers={"WWW-Authenticate": "Basic"})

    return check
