"""Prepared HTTP/1.1 requests over keep-alive connections: a client that costs the machine less than what it measures.

httpx takes about a millisecond of processor time a request, more than the services do.
"""

import asyncio
import base64
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_WAIT = re.compile(rb"retry-after: *\d+", re.IGNORECASE)


@dataclass
class Load:
    """What became of the requests; `seconds` has one latency each, from when it was due where a rate was set."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    answered: list[tuple[int, int]] = field(default_factory=list)
    """Number of each request and its status."""
    without_wait: int = 0
    """Answers of 429 or 503 that do not say when to come back."""
    lasted: float = 0.0

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies in ms."""
        return round(float(np.percentile(self.seconds, percent)) * 1000, 2)


def post(path: str, body: bytes, write_key: str) -> bytes:
    """Return the bytes of a POST of JSON."""
    basic = base64.b64encode(f"{write_key}:".encode()).decode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {basic}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str) -> bytes:
    """Return the bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def send(base_url: str, requests: Sequence[bytes], *, connections: int, rate: float = 0) -> Load:
    """Send every request once and read every answer.

    Parameters
    ----------
    rate
        Requests a second over all connections, whether answers come or not as long as a connection is free; 0 = each
        connection sends as soon as it is answered.
    """
    return asyncio.run(_send(base_url, requests, connections, rate))


async def _send(base_url: str, requests: Sequence[bytes], connections: int, rate: float) -> Load:
    load, begun, numbers = Load(), time.perf_counter(), iter(range(len(requests)))

    async def work() -> None:
        address = urlsplit(base_url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for number in numbers:
            due = begun + number / rate if rate else time.perf_counter()
            await asyncio.sleep(max(0.0, due - time.perf_counter())) if rate else None
            writer.write(requests[number])
            status, head = await _read_answer(reader)
            load.seconds.append(time.perf_counter() - due)
            load.statuses[status] += 1
            load.answered.append((number, status))
            load.without_wait += status in (429, 503) and not _WAIT.search(head)
        writer.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(work())
    load.lasted = time.perf_counter() - begun
    return load


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(head[9:12]), head
