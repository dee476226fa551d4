"""A request's head within bounds: too large 431, too slow 408, and everyone else is served."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Request

from afterclick.guarded_protocol import guarded_protocol

LIMIT = 4096


@pytest.fixture
def port() -> Iterator[int]:
    app = FastAPI()

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    protocol = guarded_protocol(LIMIT, 0.3)
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=protocol, ws="none", log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


def answers(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send the pieces over one connection and return what comes back until it is closed or quiet."""
    with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            pass
        found = b""
        try:
            while chunk := connection.recv(65_536):
                found += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return found


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /size HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_a_request_passes_and_so_does_the_next_one_on_the_connection(port: int) -> None:
    found = answers(port, post(b"x" * 100_000), post(b"hello"))

    assert found.count(b"HTTP/1.1 200 OK") == 2
    assert b"100000" in found


@pytest.mark.parametrize(
    "pieces",
    [
        [post(b"", *[b"X-%d: %s" % (n, b"y" * 100) for n in range(60)])],
        [b"POST /size HTTP/1.1\r\nX: ", *[b"y" * 1000] * 10],
        [b"POST /" + b"x" * 6000],
    ],
    ids=["many_headers", "endless_header", "endless_path"],
)
def test_a_head_that_is_too_large_is_431(port: int, pieces: list[bytes]) -> None:
    assert answers(port, *pieces, pause=0.01).startswith(b"HTTP/1.1 431")


def test_an_endless_trailer_ends_the_connection(port: int) -> None:
    begun = b"POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: "

    assert b"HTTP/1.1 431" in answers(port, begun, *[b"y" * 1000] * 10, pause=0.01)


@pytest.mark.parametrize("pieces", [[b""], [b"POST /size HTTP/1.1\r\nHo"]], ids=["silent", "begun"])
def test_a_head_that_is_too_slow_is_408(port: int, pieces: list[bytes]) -> None:
    assert answers(port, *pieces).startswith(b"HTTP/1.1 408")


def test_a_second_head_that_is_too_slow_is_408(port: int) -> None:
    found = answers(port, post(b"hello"), b"POST /si", pause=0.1)

    assert found.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in found


def test_not_http_is_400(port: int) -> None:
    assert answers(port, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400")
