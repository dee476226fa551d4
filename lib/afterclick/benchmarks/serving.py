"""Requests a second of the API for lists of 20, against an endpoint of the same kind of server that only asks Redis.

The baseline is one GET of a list's bytes from Redis by a FastAPI route under the same uvicorn protocol, answered as it is.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis.asyncio
from fastapi import FastAPI
from fastapi.responses import Response

from afterclick.benchmarks import http_load
from afterclick.benchmarks.interleaved import compare
from afterclick.benchmarks.people import VERSION, write_people
from afterclick.connectors import redis_store
from afterclick.errors import LocalStackError
from afterclick.local.processes import free_port
from afterclick.local.services import Service, start_service, stopping, wait_until_ready
from afterclick.settings import Settings

ASKED, CONNECTIONS = 20, 16
RATE = 1_000


def measure(settings: Settings, *, announce: Callable[[str], None], quick: bool = False) -> dict[str, Any]:
    """Return requests a second of both, and the latency at `RATE` a second."""
    people, requests, runs = (200, 1_000, 1) if quick else (2_000, 10_000, 5)
    announce(f"writing {people:,} lists")
    subjects = write_people(settings, people)
    keys = [redis_store.list_key(settings.redis.prefix, VERSION, subject).decode() for subject in subjects]
    ours = [http_load.get(f"/v1/recommendations/person-{n % people}?n={ASKED}") for n in range(requests)]
    plain = [http_load.get(f"/plain/{keys[n % people]}") for n in range(requests)]
    port = free_port()
    running: list[Service] = []
    with stopping(running):
        running.append(start_service("api", ["-m", "afterclick.cli", "serve"], settings))
        running.append(start_service("plain", [str(Path(__file__)), str(port)], settings))
        wait_until_ready(running[0], f"{settings.serving.base_url}/health/ready")
        wait_until_ready(running[1], f"http://127.0.0.1:{port}/openapi.json")
        announce(f"{requests:,} requests, {runs} runs of each")
        compared = compare(
            lambda: _all_answered(settings.serving.base_url, ours),
            lambda: _all_answered(f"http://127.0.0.1:{port}", plain),
            runs=runs,
        )
        rate = RATE / 10 if quick else RATE
        announce(f"{rate:g} requests/s")
        paced = http_load.send(settings.serving.base_url, ours, connections=CONNECTIONS, rate=rate)
    return {
        "measured": round(requests / compared["measured_s"]),
        "baseline": round(requests / compared["baseline_s"]),
        "ratio": compared["ratio"],
        "runs": runs,
        "spread": compared["spread"],
        "ms_at_rate": {
            "rate": rate,
            "p50": paced.percentile_ms(50),
            "p95": paced.percentile_ms(95),
            "p99": paced.percentile_ms(99),
        },
    }


def _all_answered(base_url: str, requests: list[bytes]) -> None:
    load = http_load.send(base_url, requests, connections=CONNECTIONS)
    if load.statuses[200] != len(requests):
        message = f"of {len(requests)} requests only {load.statuses[200]} were answered 200: {dict(load.statuses)}"
        raise LocalStackError(message)


def _plain_app(settings: Settings) -> FastAPI:
    client = redis.asyncio.Redis.from_url(settings.redis.url.get_secret_value(), protocol=2)
    app = FastAPI()

    @app.get("/plain/{key:path}")
    async def plain(key: str) -> Response:
        value: Any = await client.get(key)
        return Response(value or b"", media_type="application/octet-stream")

    return app


if __name__ == "__main__":  # the baseline's own process
    from afterclick.commands.http import run_http
    from afterclick.settings import load_settings

    loaded = load_settings("local")
    run_http(_plain_app(loaded), loaded.serving.model_copy(update={"port": int(sys.argv[1])}), loaded.logs)
