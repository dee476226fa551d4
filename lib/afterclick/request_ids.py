"""An id for each HTTP request: in the answer's ``X-Request-ID`` and in every log line written meanwhile."""

import random
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from afterclick.logs import request_id

_HEADER = b"x-request-id"
_USABLE = re.compile(rb"[A-Za-z0-9-]{8,64}")


class RequestIds:
    """ASGI middleware; a caller's own id is kept when it looks like one, so that it can be followed through proxies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(_HEADER, b"")
        own = sent.decode() if _USABLE.fullmatch(sent) else f"{random.getrandbits(128):032x}"

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (_HEADER, own.encode())]
            await send(message)

        token = request_id.set(own)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            request_id.reset(token)
