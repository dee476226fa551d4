"""A request's body, within bounds: size, inflated size, time, depth.

A body that is a little too large is still read, not kept, so that the client hears why; one that is much too large is
answered before it has arrived.
"""

import asyncio
import re
import zlib
from typing import Any

from fastapi import Request

from afterclick.setting_sections import CollectorSettings

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 65_536


class BodyError(Exception):
    """Raised when a body cannot be read; `status` and text are the answer, `rest_follows` that the client still sends."""

    def __init__(self, status: int, told: str, *, rest_follows: bool = False) -> None:
        super().__init__(told)
        self.status = status
        self.rest_follows = rest_follows


async def read_body(request: Request, limit: int, settings: CollectorSettings) -> bytes:
    """Return the inflated body, or its beginning with one byte more than `limit`.

    Raises
    ------
    BodyError
        413 for more than ``max_body_bytes``, before or after inflating; 408 when it does not arrive in time;
        415 for another encoding than gzip and deflate; 400 when it cannot be inflated or the client went away.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:19]) > settings.max_body_bytes:
        raise _too_large(settings, rest_follows=True)
    body = BoundedBody(request.headers.get("content-encoding", ""), limit, settings)
    try:
        async with asyncio.timeout(settings.body_timeout_seconds):
            await _receive_into(body, request)
    except TimeoutError as error:
        raise BodyError(408, f"the body did not arrive within {settings.body_timeout_seconds:g} s") from error
    return body.content()


async def _receive_into(body: "BoundedBody", request: Request) -> None:
    more_follows = True
    while more_follows:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise BodyError(400, "the client went away")
        more_follows = message.get("more_body", False)
        try:
            body.add(message.get("body", b""))
        except zlib.error as error:
            raise BodyError(400, f"the body cannot be inflated: {error}", rest_follows=more_follows) from error
        except BodyError as error:
            error.rest_follows = more_follows
            raise


def depth_of(raw: bytes, enough: int) -> int:
    """Return how deep JSON is nested, or, when it has no more than `enough` opening brackets, their number."""
    opening = raw.count(b"{") + raw.count(b"[")
    if opening <= enough:
        return opening
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", raw)):
        depth += 1 if bracket in b"{[" else -1
        deepest = max(deepest, depth)
    return deepest


class BoundedBody:
    """Keeps up to one byte more than `limit` of what arrives, inflated, and counts the rest."""

    def __init__(self, encoding: str, limit: int, settings: CollectorSettings) -> None:
        self._encoding = encoding.strip().lower()
        self._inflater: Any = None
        self._limit = limit
        self._settings = settings
        self._chunks: list[bytes] = []
        self._size = 0
        if self._encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise BodyError(415, f"content encoding {self._encoding[:40]!r} is not gzip, deflate or identity")

    def add(self, chunk: bytes) -> None:
        """Take the next part of the body; raises as `read_body`."""
        if not chunk:
            return
        if self._size == 0 and self._inflater is None and self._is_compressed(chunk):
            self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # finds out itself: gzip or zlib
        if self._inflater is None:
            self._keep(chunk)
            return
        while chunk and not self._inflater.eof:
            self._keep(self._inflater.decompress(chunk, _PIECE))
            chunk = self._inflater.unconsumed_tail

    def content(self) -> bytes:
        """Return what was kept, when all has been added."""
        if self._inflater is not None and not self._inflater.eof:
            raise BodyError(400, "the compressed body is cut off")
        return b"".join(self._chunks)[: self._limit + 1]

    def _is_compressed(self, first: bytes) -> bool:
        # Some mobile clients send gzip without saying so; JSON cannot begin like this.
        return self._encoding in {"gzip", "x-gzip", "deflate"} or first.startswith(_GZIP_MAGIC)

    def _keep(self, piece: bytes) -> None:
        if self._size <= self._limit:
            self._chunks.append(piece[: self._limit + 1 - self._size])
        self._size += len(piece)
        if self._size > self._settings.max_body_bytes:
            raise _too_large(self._settings)


def _too_large(settings: CollectorSettings, *, rest_follows: bool = False) -> BodyError:
    return BodyError(413, f"the request has more than {settings.max_body_bytes} bytes", rest_follows=rest_follows)
