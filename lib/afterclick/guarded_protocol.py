"""uvicorn's HTTP protocol with bounds it does not have: size and time of a request's head."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_ANSWERS = {
    408: b"HTTP/1.1 408 Request Timeout\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
}


def guarded_protocol(max_header_bytes: int, seconds: float) -> type[asyncio.Protocol]:
    """Return a protocol class that ends connections whose head is too large (431) or too slow (408)."""
    bounds = {"max_header_bytes": max_header_bytes, "seconds": seconds}
    return type("BoundedProtocol", (GuardedProtocol,), bounds)


class GuardedProtocol(HttpToolsProtocol):
    """Counts bytes that are not body, and the time until a head is complete."""

    max_header_bytes: int
    seconds: float

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._is_refused = False
        self._bytes_outside_body = 0
        self._header_bytes = 0
        self._is_head_open = True
        self._timer: asyncio.TimerHandle | None = None
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and refuse when too much came that is not body."""
        if self._is_refused:
            return
        if self._is_head_open and self._timer is None:
            self._start_timer()
        self._bytes_outside_body += len(data)
        super().data_received(data)
        if self._bytes_outside_body > self.max_header_bytes:
            self._refuse(431)

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        self._header_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count a part of the request line."""
        self._header_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, or a trailer."""
        self._header_bytes += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request on unless its head is too large."""
        self._stop_timer()
        self._is_head_open = False
        self._bytes_outside_body = 0
        if self._header_bytes > self.max_header_bytes:
            self._refuse(431)
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body on."""
        self._bytes_outside_body = 0
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next head."""
        self._is_head_open = True
        self._bytes_outside_body = 0
        if not self._is_refused:
            super().on_message_complete()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self._refuse, 408)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int) -> None:
        self._stop_timer()
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self.transport.write(_ANSWERS[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
