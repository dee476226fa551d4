"""Clients that mean harm, and the measure of how everyone else is served meanwhile."""

import contextlib
import gzip
import multiprocessing
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import httpx
import numpy as np
import psutil

KEY = "test-write-key"
CONSENT = {"consent": {"categoryPreferences": {"analytics": True}}}
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_END = "end"


def good_batch(number: int) -> dict[str, object]:
    """Return a batch of ten views."""
    return {
        "batch": [
            {"type": "track", "event": "Product Viewed", "userId": f"user-{number % 50}", "messageId": f"{number}-{n}",
             "properties": {"product_id": f"item-{n}"}, "context": CONSENT}
            for n in range(10)
        ]
    }  # fmt: skip


def measure_p99(port: int, seconds: float, *, rate: float = 50.0) -> float:
    """Return the 99th percentile of a well-behaved client's answers in ms; every answer must be 200."""
    times: list[float] = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            sent = time.monotonic()
            answer = client.post("/v1/batch", json=good_batch(len(times)), auth=(KEY, ""))
            times.append(1000 * (time.monotonic() - sent))
            assert answer.status_code == 200, answer.text
            time.sleep(max(0.0, 1 / rate - (time.monotonic() - sent)))
    return float(np.percentile(times, 99))


@dataclass
class Attack:
    """Repeats one kind of request from several clients until told to stop; collects the statuses.

    In a process of its own that takes only processor time nobody else wants: attackers have machines of their own.
    What the collector itself spends on them is what everyone else shares.
    """

    port: int
    once: Callable[[int], int | None]
    clients: int = 2
    pause: float = 0.2
    statuses: list[int | None] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        processes = multiprocessing.get_context("spawn")
        stop, statuses = processes.Event(), processes.Queue()
        attacker = processes.Process(target=_repeat, args=(self, stop, statuses), daemon=True)
        attacker.start()
        first = statuses.get(timeout=60)  # it is under way
        try:
            yield
        finally:
            stop.set()
            self.statuses += [first, *iter(partial(statuses.get, timeout=60), _END)]
            attacker.join(60)


def _repeat(attack: Attack, stop: Any, statuses: Any) -> None:
    if hasattr(os, "SCHED_IDLE"):  # Linux
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    def repeat() -> None:
        while not stop.is_set():
            statuses.put(attack.once(attack.port))
            stop.wait(attack.pause)

    with ThreadPoolExecutor(attack.clients) as clients:
        for _ in range(attack.clients):
            clients.submit(repeat)
    statuses.put(_END)


class MemoryWatch:
    """Largest growth of a process's resident memory while watched, in MB."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._begun = self._process.memory_info().rss
        self.growth_mb = 0.0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.02):
                grown = (self._process.memory_info().rss - self._begun) / 2**20
                self.growth_mb = max(self.growth_mb, grown)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(5)


@cache
def gzip_bomb() -> bytes:
    """Return 1 GB of zeros, packed into 1 MB."""
    return gzip.compress(b"\0" * 2**30, compresslevel=6)


def send_bomb(port: int) -> int | None:
    return _post(port, gzip_bomb(), b"Content-Encoding: gzip")


def send_declared(port: int, *, size: int) -> int | None:
    """Declare `size` bytes and send them all before reading the answer, as many clients do."""
    return _stream(port, b"Content-Length: %d" % size, size)


def send_chunked(port: int, *, size: int) -> int | None:
    return _stream(port, b"Transfer-Encoding: chunked", size, is_chunked=True)


def send_deep(port: int, *, depth: int) -> int | None:
    body = b'{"batch": [{"type": "track", "event": "x", "userId": "a", "properties": {"a": %s}}]}'
    return _post(port, body % (b"[" * depth + b"]" * depth))


def hold_slowly(port: int, *, seconds: float) -> int | None:
    """Send a head one byte at a time."""
    deadline = time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        for letter in b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"y" * 1000:
            with contextlib.suppress(OSError):
                connection.sendall(bytes([letter]))
            connection.settimeout(0.25)
            with contextlib.suppress(TimeoutError):
                return _status(connection.recv(4096))
            if time.monotonic() > deadline:
                return None
    return None


def hold_body_slowly(port: int, *, seconds: float) -> int | None:
    """Send a proper head, then a byte of body now and then."""
    deadline = time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        connection.settimeout(0.25)
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                connection.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                return _status(connection.recv(4096))
    return None


def _post(port: int, body: bytes, *headers: bytes) -> int | None:
    head = [b"POST /v1/batch?writeKey=" + KEY.encode() + b" HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body)]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"\r\n".join([*head, *headers]) + b"\r\n\r\n" + body)
        return _status(connection.recv(4096))


def _stream(port: int, header: bytes, size: int, *, is_chunked: bool = False) -> int | None:
    piece = b"x" * 65_536
    framed = b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(size // len(piece)):
                connection.sendall(framed)
            connection.sendall(b"0\r\n\r\n" if is_chunked else b"x" * (size % len(piece)))
        with contextlib.suppress(ConnectionResetError):
            return _status(connection.recv(4096))
    return None


def _status(answer: bytes) -> int | None:
    found = _STATUS.match(answer)
    return int(found.group(1)) if found else None
