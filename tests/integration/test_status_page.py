"""The status page in a real Chromium over running services; its rules of access are in test_status_views."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest
import uvicorn

from afterclick.collector import app as collector
from afterclick.collector.event_sink import KafkaSink
from afterclick.connectors import redis_store
from afterclick.connectors.activity_store import ActivityStore
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.subject_store import open_subject_store
from afterclick.consent_rules import Claim
from afterclick.job_metrics import JobMetrics
from afterclick.local.processes import free_port, is_listening
from afterclick.metrics_export import exported_metrics
from afterclick.model_sources import ModelSources
from afterclick.models import save_model
from afterclick.pseudonyms import RawId
from afterclick.recommendations import update_lists
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving import app as serving
from afterclick.settings import Settings
from builders import make_model, make_sources
from needed_programs import needs
from waiting import wait_until

VERSION = "20261124T000000-test"
PAGES = {"status": "", "person": "/person?user_id=ada", "item": "/item?item_id=item-4"}
FATES = ("events", "quarantine", "no_consent", "duplicates")
QUERIES = ("update_recommendations", "ingest_events")


@pytest.fixture
def settings_here(live: Settings) -> Settings:
    return live.model_copy(
        update={
            "serving": live.serving.model_copy(update={"port": free_port(), "status_seconds": 0.5}),
            "collector": live.collector.model_copy(update={"port": free_port()}),
        }
    )


@pytest.fixture
def metrics(settings_here: Settings) -> Iterator[JobMetrics]:
    """Collector and API on real Kafka and Redis, and a job's metrics; all of them busy until the test ends."""
    warm_ada(settings_here)
    figures = JobMetrics()
    sink = KafkaSink(settings_here.kafka, settings_here.collector)
    apps = {
        settings_here.collector.port: collector.create_app(settings_here, sink, lambda: datetime.now(UTC)),
        settings_here.serving.port: serving.create_app(settings_here),
    }
    ended = threading.Event()
    servers = [uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning")) for port, app in apps.items()]
    threads = [threading.Thread(target=server.run) for server in servers]
    threads.append(threading.Thread(target=keep_busy, args=(settings_here, figures, ended)))
    with exported_metrics("update_recommendations", figures, settings_here.metrics):
        for thread in threads[:2]:
            thread.start()
        wait_until(lambda: all(map(is_listening, apps)))
        threads[2].start()
        yield figures
        ended.set()
        threads[2].join()
        for server in servers:
            server.should_exit = True
        for thread in threads[:2]:
            thread.join()


def warm_ada(settings: Settings) -> None:
    ada = open_subject_store(settings).admit(
        [Claim(RawId("user", "ada"), {"analytics": True, "personalisation": True}, 1)]
    )[0]
    assert ada is not None
    save_model(make_model(items=30, version=VERSION, sources=followed()), model_folder(settings, VERSION))
    store, recommender = redis_store.connect(settings.redis), read_recommender(settings, VERSION)
    row = {
        "subject_id": [ada.subject_id],
        "item_id": ["item-3"],
        "event_type": ["view"],
        "event_ms": [5],
        "received_ms": [1000],
    }
    store.switch_version(VERSION)
    of_late = {"events_30m": 2.0, "events_2h": 3.0, "events_24h": 7.0, "events_decayed": 1.5}
    ActivityStore(settings.redis).write("item", {"item-4": {"view": of_late}}, ttl_seconds=600)
    update_lists(pa.table(row), recommender, store, length=9, fence=Fence(1, 1), now_ms=2000)
    store.write_popular(recommender.popular(1))


def followed() -> ModelSources:
    """Three of four steps from item-4 led to item-9; as popular of late as ever."""
    followers, weights = np.full((30, 1), -1, np.int32), np.zeros((30, 1), np.float32)
    followers[4], weights[4] = 9, 3
    totals, trend = np.full(30, 4.0), np.arange(30, 0, -1, dtype=np.float64)
    return replace(
        make_sources(items=30), followers=followers, follower_weights=weights, follower_totals=totals, trend=trend
    )


def keep_busy(settings: Settings, metrics: JobMetrics, ended: threading.Event) -> None:
    """Ask, send, and note batches as the streams do: freshness 100, 200, 300 ms and every tenth batch 2 s."""
    with httpx.Client(timeout=10) as client:
        for number in range(100_000):
            if ended.wait(0.1):
                return
            client.get(f"{settings.serving.base_url}/v1/recommendations/{('ada', 'nobody')[number % 2]}")
            track = {"userId": "ada", "event": "Product Viewed", "properties": {"product_id": "mug"}}
            client.post(f"{settings.collector.base_url}/v1/track", json=track, auth=("test-write-key", ""))
            client.post(f"{settings.collector.base_url}/v1/track", json=track, auth=("wrong", ""))
            waited = np.array([100, 200, 2000 if number % 10 == 9 else 300])
            metrics.count_lists(10_000 - waited, {"view": 2, "cart": 1}, {"written": 3, "fenced": 0}, now_ms=10_000)
            metrics.count_fates({"consumed": 4, "events": 3, "quarantine": 1, "no_consent": 0, "duplicates": 0}, FATES)
            metrics.sessions.inc()
            for query in QUERIES:
                metrics.active.labels(query).set(1)
                metrics.lag.labels(query).set(7)
                metrics.batch_rows.labels(query).inc(4)
                metrics.batch_seconds.labels(query).observe(0.08)
                metrics.write_seconds.labels(query).inc(0.05)
                metrics.last_batch.labels(query).set(time.time())


def test_page_shows_the_parts_figures_and_is_accessible(
    metrics: JobMetrics, settings_here: Settings, tmp_path: Path
) -> None:
    node = needs("node", install="install Node.js 20 or newer with npm")
    chromium = needs("chromium", install="apt-get install chromium")
    subprocess.run(["scripts/test_clients.sh"], check=True)  # noqa: S607
    base = settings_here.serving.base_url
    time.sleep(3)
    before = lists_written(metrics)

    done = subprocess.run(  # noqa: S603
        [node, "status_page.mjs", *(f"{base}/status{PAGES[page]}" for page in ("status", "person", "item")), tmp_path],
        cwd="tests/clients",
        env={**os.environ, "CHROMIUM": chromium},  # noqa: TID251
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    figures = seen["figures"]
    assert before <= int(figures["Fates:events"]) <= lists_written(metrics)
    assert figures["model:version"] == VERSION
    assert 150 <= int(figures["freshness:p50"].removesuffix(" ms")) <= 250
    assert 1 < float(figures["freshness:late"].removesuffix(" %")) < 6  # one in thirty
    assert figures["lag:ingest_events"] == "7"
    assert int(figures["Lists served:fold_in"]) > 0
    assert "L" in seen["curve"]
    assert seen["listed"][0].startswith("item-")
    assert seen["item"] == {
        "item:popularity": "5 of 30", "item:trend": "5 of 30", "item:place": "5", "item:listed": "1 of 1",
        "item:view": "7", "next:item-9": "75.0 %",
    }  # fmt: skip
    assert (seen["firstStop"], seen["paused"]) == ("Skip to content", "true")
    assert seen["errors"] == []
    assert seen["violations"] == {f"{page} {mode}": [] for mode in ("light", "dark") for page in PAGES}
    assert 5_000 < seen["bytes"] < 300_000  # page, style and script
    print("first view ms", seen["firstView"], "bytes", seen["bytes"])  # noqa: T201
    keep_screenshots(tmp_path)


def lists_written(metrics: JobMetrics) -> int:
    return int(metrics.registry.get_sample_value("afterclick_ingest_events_total", {"fate": "events"}) or 0)


def keep_screenshots(folder: Path) -> None:
    """Put the pictures into the documents on request: AFTERCLICK_GOLDEN=1."""
    if os.environ.get("AFTERCLICK_GOLDEN"):  # noqa: TID251
        for name in ("status-light", "status-dark"):
            shutil.copy(folder / f"{name}.png", Path("docs/images") / f"{name}.png")
