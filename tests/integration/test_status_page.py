"""The status page in a real Chromium, and every dashboard query in a real Prometheus, over running services."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import uvicorn
import yaml
from fastapi import FastAPI

from afterclick.collector import app as collector
from afterclick.collector.event_sink import KafkaSink
from afterclick.connectors import redis_store
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.subject_store import open_subject_store
from afterclick.consent_rules import Claim
from afterclick.job_metrics import JobMetrics
from afterclick.local.processes import free_port, is_listening
from afterclick.metrics_export import exported_metrics
from afterclick.models import save_model
from afterclick.pseudonyms import RawId
from afterclick.recommendations import update_lists
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving import app as serving
from afterclick.settings import Settings
from builders import make_model

VERSION = "20261124T000000-test"
DASHBOARDS = sorted(Path("conf/monitoring/grafana/dashboards").glob("*.json"))
FATES = ("events", "quarantine", "no_consent", "duplicates")
QUERIES = ("update_recommendations", "ingest_events")


def needs(program: str, *, install: str) -> str:
    """Return a program's path; without it a test is skipped, in CI it fails."""
    found = shutil.which(program)
    if found is None:
        reason = f"{program} is not on this machine; {install}"
        if os.environ.get("CI") == "true":  # noqa: TID251
            pytest.fail(reason)
        pytest.skip(reason)
    return found


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
    save_model(make_model(items=30, version=VERSION), model_folder(settings, VERSION))
    store, recommender = redis_store.connect(settings.redis), read_recommender(settings, VERSION)
    row = {
        "subject_id": [ada.subject_id],
        "item_id": ["item-3"],
        "event_type": ["view"],
        "event_ms": [5],
        "received_ms": [1000],
    }
    store.switch_version(VERSION)
    update_lists(pa.table(row), recommender, store, length=9, fence=Fence(1, 1), now_ms=2000)
    store.write_popular(recommender.popular(1))


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


def wait_until(is_true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


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
        [node, "status_page.mjs", f"{base}/status", f"{base}/status/person?user_id=ada", tmp_path],
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
    assert seen["person"][0].startswith("item-")
    assert (seen["firstStop"], seen["paused"]) == ("Skip to content", "true")
    assert seen["errors"] == []
    assert seen["violations"] == {f"{page} {mode}": [] for mode in ("light", "dark") for page in ("status", "person")}
    assert seen["bytes"] < 300_000
    print("first view ms", seen["firstView"], "bytes", seen["bytes"])  # noqa: T201
    keep_screenshots(tmp_path)


def lists_written(metrics: JobMetrics) -> int:
    return int(metrics.registry.get_sample_value("afterclick_ingest_events_total", {"fate": "events"}) or 0)


def keep_screenshots(folder: Path) -> None:
    """Put the pictures into the documents on request: AFTERCLICK_GOLDEN=1."""
    if os.environ.get("AFTERCLICK_GOLDEN"):  # noqa: TID251
        for name in ("status-light", "status-dark"):
            shutil.copy(folder / f"{name}.png", Path("docs/images") / f"{name}.png")


@pytest.mark.usefixtures("metrics")
def test_every_dashboard_query_has_data(settings_here: Settings, tmp_path: Path) -> None:
    prometheus = needs("prometheus", install="apt-get install prometheus")
    port = free_port()
    config = tmp_path / "prometheus.yaml"
    config.write_text(yaml.safe_dump(configuration(settings_here)), encoding="utf-8")
    command = [prometheus, f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data"]
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)  # noqa: S603
    try:
        wait_until(lambda: is_listening(port))
        wanted = {query for path in DASHBOARDS for query in queries(path)}
        assert len(wanted) > 20
        deadline = time.monotonic() + 60
        missing = wanted
        while missing and time.monotonic() < deadline:
            time.sleep(1)
            missing = {query for query in missing if not has_data(port, query)}
        assert missing == set()
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def configuration(settings: Settings) -> dict[str, Any]:
    """Return ours with this test's addresses, and every second: the file has intervals for production."""
    text = Path("conf/monitoring/prometheus.yaml").read_text(encoding="utf-8")
    text = text.replace("../../.afterclick/metrics", f"{settings.metrics.discovery_dir}")
    text = text.replace("rules.yaml", str(Path("conf/monitoring/rules.yaml").resolve()))
    text = text.replace("127.0.0.1:8180", settings.collector.base_url.removeprefix("http://"))
    text = text.replace("127.0.0.1:8181", settings.serving.base_url.removeprefix("http://"))
    return dict(yaml.safe_load(re.sub(r"(scrape|evaluation)_interval: \d+s", r"\1_interval: 1s", text)))


def queries(dashboard: Path) -> list[str]:
    panels = json.loads(dashboard.read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def has_data(port: int, query: str) -> bool:
    answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    return any(np.isfinite(float(series["value"][1])) for series in answer["data"]["result"])


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example"])
def test_people_are_not_shown_to_a_page_from_elsewhere(host: str, settings: Settings) -> None:
    answer = ask(serving.create_app(settings), host, "/status/person?user_id=ada")

    assert answer.status_code == 403


def test_with_keys_people_need_one_and_figures_do_not(settings: Settings) -> None:
    strict = settings.model_copy(update={"serving": settings.serving.model_copy(update={"require_key": True})})
    app = serving.create_app(strict)

    assert ask(app, "127.0.0.1", "/status/person?user_id=ada").status_code == 401
    assert ask(app, "127.0.0.1", "/status").status_code == 200


def test_page_is_there_only_where_it_is_set(settings: Settings) -> None:
    without = settings.model_copy(update={"serving": settings.serving.model_copy(update={"status_page": False})})

    assert ask(serving.create_app(without), "127.0.0.1", "/status").status_code == 404


def test_what_a_person_types_is_text_and_not_a_page(settings: Settings) -> None:
    answer = ask(serving.create_app(settings), "127.0.0.1", "/status/person?user_id=%22%3E%3Cscript%3Ex")

    assert answer.status_code == 200
    assert "<script>x" not in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]


def ask(app: FastAPI, host: str, path: str) -> httpx.Response:
    from fastapi.testclient import TestClient

    client: httpx.Client = TestClient(app, base_url=f"http://{host}", client=("127.0.0.1", 50_000))
    return client.get(path)
