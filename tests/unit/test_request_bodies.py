"""Bodies within bounds: sizes at the limit, gzip in pieces, bombs, depth."""

import asyncio
import gzip
import zlib
from typing import Any

import pytest
from fastapi import Request

from afterclick.collector.request_bodies import BodyError, depth_of, read_body
from afterclick.setting_sections import CollectorSettings

RULES = CollectorSettings(max_body_bytes=100_000, body_timeout_seconds=0.2)
LIMIT = 1000


def read(body: bytes, *, encoding: str = "", pieces: int = 1, stalls: bool = False, length: int | None = None) -> bytes:
    size = -(-len(body) // pieces) or 1
    chunks = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    headers = [(b"content-encoding", encoding.encode())] if encoding else []
    headers += [(b"content-length", str(length).encode())] if length is not None else []

    async def receive() -> dict[str, Any]:
        if chunks:
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks) or stalls}
        await asyncio.sleep(5)
        return {"type": "http.disconnect"}

    request = Request({"type": "http", "headers": headers}, receive)
    return asyncio.run(read_body(request, LIMIT, RULES))


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", ""])
@pytest.mark.parametrize("pieces", [1, 7])
def test_read_body_inflates(encoding: str, pieces: int) -> None:
    packed = zlib.compress(b"hello") if encoding == "deflate" else gzip.compress(b"hello")

    assert read(packed, encoding=encoding, pieces=pieces) == b"hello"


def test_read_body_returns_a_body_of_the_limit_whole() -> None:
    assert read(b"x" * LIMIT) == b"x" * LIMIT


def test_read_body_returns_one_byte_more_of_a_larger_one() -> None:
    assert len(read(b"x" * (LIMIT + 500), pieces=3)) == LIMIT + 1
    assert len(read(gzip.compress(b"x" * 50_000), encoding="gzip")) == LIMIT + 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"body": b"x" * 100_001, "pieces": 5}, 413),
        ({"body": b"x", "length": 100_001}, 413),
        ({"body": gzip.compress(b"\0" * 50_000_000), "encoding": "gzip"}, 413),
        ({"body": gzip.compress(b"hello")[:-4], "encoding": "gzip"}, 400),
        ({"body": b"hello", "encoding": "gzip"}, 400),
        ({"body": b"hello", "encoding": "br"}, 415),
        ({"body": b"hello", "stalls": True}, 408),
    ],
    ids=["large", "declared_large", "bomb", "cut_off", "not_gzip", "brotli", "stalled"],
)
def test_read_body_refuses(sent: dict[str, Any], status: int) -> None:
    with pytest.raises(BodyError) as refused:
        read(**sent)

    assert refused.value.status == status


@pytest.mark.parametrize(
    ("raw", "depth"),
    [
        (b"{}", 1),
        (b'{"a": [[{}], [], []]}', 4),
        (b'{"a": "[[[[[[", "b": [], "c": []}', 2),
        (b'{"a": "\\"[[[[", "b": [], "c": []}', 2),
        (b"[" * 9, 9),
        (b'{"a": "[[[[[', 1),
    ],
    ids=["one", "nested", "brackets_in_text", "escaped_quote", "unclosed", "open_text"],
)
def test_depth_of(raw: bytes, depth: int) -> None:
    assert depth_of(raw, 0) == depth


def test_depth_of_does_not_look_closer_when_there_are_few_brackets() -> None:
    assert depth_of(b"[][][]", 3) == 3
