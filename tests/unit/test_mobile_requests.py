"""Requests as Segment's mobile clients write them: no Authorization, the key in the body, gzip in chunks, text/plain.

References
----------
segmentio/analytics-kotlin `HTTPClient.kt`, analytics-swift `HTTPClient.swift`, analytics-react-native `api.ts`.
"""

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
import uvicorn

from afterclick.collector.app import create_app
from afterclick.collector.messages import Event
from afterclick.guarded_protocol import guarded_protocol
from afterclick.settings import Settings

BATCH = json.dumps(
    {
        "batch": [
            {
                "type": "track",
                "event": "Product Viewed",
                "messageId": "m-1",
                "anonymousId": "device-1",
                "userId": "",
                "timestamp": "2026-11-24T12:00:00.000Z",
                "properties": {"product_id": "mug"},
                "integrations": {},
                "_metadata": {"bundled": [], "unbundled": [], "bundledIds": []},
                "context": {
                    "consent": {"categoryPreferences": {"analytics": True}},
                    "device": {"type": "ios", "model": "iPhone15,2", "manufacturer": "Apple"},
                    "library": {"name": "analytics-mobile", "version": "1"},
                },
            }
        ],
        "sentAt": "2026-11-24T12:00:01.000Z",
        "writeKey": "test-write-key",
    }
).encode()


class MemorySink:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def publish(self, events: Sequence[Event]) -> None:
        self.events.extend(events)

    def is_ready(self) -> bool:
        return True

    def close(self) -> None:
        pass


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[int, MemorySink]]:
    sink = MemorySink()
    app = create_app(settings, sink, lambda: datetime(2026, 11, 24, 12, 0, 2, tzinfo=UTC))
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=guarded_protocol(32_768, 5), ws="none", log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1], sink
    server.should_exit = True
    thread.join(10)


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


PLAIN = b"Content-Length: %d\r\n\r\n%s" % (len(BATCH), BATCH)
REQUESTS = {
    "kotlin": b"User-Agent: analytics-kotlin/1.19.1\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n" + chunked(gzip.compress(BATCH), 100),
    "swift": b"User-Agent: analytics-ios/1.6.2\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"Accept-Encoding: gzip\r\n" + PLAIN,
    "react_native": b"User-Agent: okhttp/4.9.2\r\nContent-Type: text/plain\r\nAccept-Encoding: gzip\r\n" + PLAIN,
}


@pytest.mark.parametrize("client", REQUESTS)
def test_mobile_request_is_accepted(client: str, served: tuple[int, MemorySink]) -> None:
    port, sink = served
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"POST /v1/b HTTP/1.1\r\nHost: collector\r\n" + REQUESTS[client])
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 200 ")
    event = json.loads(sink.events[0].value)
    assert (event["event_id"], event["event_type"], event["device"]) == ("m-1", "view", "mobile")
    assert event["event_at"] == "2026-11-24T12:00:01.000Z"
