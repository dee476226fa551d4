"""Every dashboard query has data in a real Prometheus that scrapes collector, API and a job as they serve themselves."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
import yaml

from afterclick.collector import app as collector
from afterclick.collector.messages import Event
from afterclick.job_metrics import JobMetrics
from afterclick.local import services
from afterclick.local.processes import free_port, is_listening
from afterclick.metrics_export import exported_metrics, service_address
from afterclick.models import save_model
from afterclick.served_model import model_folder
from afterclick.serving import app as serving
from afterclick.settings import Settings
from builders import make_model
from waiting import wait_until

DASHBOARDS = sorted(Path("conf/monitoring/grafana/dashboards").glob("*.json"))
VERSION = "20261124T000000-test"
FATES = {"events": 3, "quarantine": 1, "no_consent": 0, "duplicates": 0}


class LettingGo:
    """A sink that keeps nothing: the figures are the collector's, whatever stands behind it."""

    async def publish(self, events: Sequence[Event]) -> None:
        pass

    def is_ready(self) -> bool:
        return True

    def close(self) -> None:
        pass


@pytest.fixture
def busy(settings: Settings) -> Iterator[Settings]:
    """Collector, API without its store, and a job's metrics; all of them busy until the test ends."""
    here = settings.model_copy(
        update={
            "serving": settings.serving.model_copy(update={"port": free_port()}),
            "collector": settings.collector.model_copy(update={"port": free_port()}),
        }
    )
    save_model(make_model(items=30, version=VERSION), model_folder(here, VERSION))
    apps = {
        here.collector.port: collector.create_app(here, LettingGo(), lambda: datetime.now(UTC)),
        here.serving.port: serving.create_app(here),
    }
    servers = [uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning")) for port, app in apps.items()]
    threads = [threading.Thread(target=server.run) for server in servers]
    metrics, ended = JobMetrics(), threading.Event()
    work = threading.Thread(target=keep_busy, args=(here, metrics, ended))
    with (
        exported_metrics("streams", metrics, here.metrics),
        service_address("collector", here.collector, here.metrics),
        service_address("serving", here.serving, here.metrics),
    ):
        for thread in threads:
            thread.start()
        wait_until(lambda: all(map(is_listening, apps)))
        work.start()
        yield here
        ended.set()
        work.join()
        for server in servers:
            server.should_exit = True
        for thread in threads:
            thread.join()


def keep_busy(settings: Settings, metrics: JobMetrics, ended: threading.Event) -> None:
    """Ask, send, and note batches as the streams do."""
    track = {"userId": "ada", "event": "Product Viewed", "properties": {"product_id": "mug"}}
    with httpx.Client(timeout=10) as client:
        while not ended.wait(0.2):
            client.get(f"{settings.serving.base_url}/v1/recommendations/ada")
            for key in ("test-write-key", "wrong"):
                client.post(f"{settings.collector.base_url}/v1/track", json=track, auth=(key, ""))
            received_ms = np.array([9_900, 9_800, 7_000])
            metrics.count_lists(received_ms, {"view": 2, "cart": 1}, {"written": 3, "fenced": 0}, now_ms=10_000)
            metrics.count_fates({"consumed": 4, **FATES}, FATES)
            metrics.sessions.inc()
            metrics.active.labels("ingest_events").set(1)
            metrics.lag.labels("ingest_events").set(7)
            metrics.batch_rows.labels("ingest_events").inc(4)
            metrics.batch_seconds.labels("ingest_events").observe(0.08)
            metrics.write_seconds.labels("ingest_events").inc(0.05)
            metrics.last_batch.labels("ingest_events").set(time.time())


def test_every_dashboard_query_has_data(busy: Settings, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "prometheus.yaml"
    config.write_text(yaml.safe_dump(configuration(busy)), encoding="utf-8")
    command = [needs_prometheus(), f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "log").open("wb") as log:
        address = f"--web.listen-address=127.0.0.1:{port}"
        server = subprocess.Popen([*command, address], stdout=log, stderr=log)  # noqa: S603
    try:
        wait_until(lambda: is_listening(port))
        missing = {query for path in DASHBOARDS for query in queries(path)}
        assert len(missing) > 20
        deadline = time.monotonic() + 90
        while missing and time.monotonic() < deadline:
            time.sleep(1)
            missing = {query for query in missing if not has_data(port, query)}
        assert missing == set()
    finally:
        server.terminate()
        server.wait(20)


def test_a_stopped_service_takes_its_address_away_and_a_killed_one_leaves_it(settings: Settings) -> None:
    port, folder = free_port(), settings.state_dir / "metrics" / "services"
    variables = {
        "AFTERCLICK_SERVING__PORT": str(port),
        "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "AFTERCLICK_REDIS__URL": settings.redis.url.get_secret_value(),
        "AFTERCLICK_PRIVACY__PSEUDONYM_KEY": settings.privacy.pseudonym_key.get_secret_value(),
    }
    child = partial(services.start_service, "api", ["-m", "afterclick.cli", "serve"], settings, variables=variables)

    for end, code, left in ((services.stop_service, 0, []), (services.kill_service, -9, [f"serving_{port}.json"])):
        service = child()
        services.wait_until_ready(service, f"http://127.0.0.1:{port}/metrics")
        assert [path.name for path in folder.iterdir()] == [f"serving_{port}.json"]
        end(service)
        assert service.process.returncode == code
        assert [path.name for path in folder.iterdir()] == left


def configuration(settings: Settings) -> dict[str, Any]:
    """Return ours with this test's addresses, and every second: the file has intervals for production."""
    text = Path("conf/monitoring/prometheus.yaml").read_text(encoding="utf-8")
    places = {
        "../../.afterclick/metrics": f"{settings.metrics.discovery_dir}",
        "rules.yaml": str(Path("conf/monitoring/rules.yaml").resolve()),
    }
    for ours, here in places.items():
        assert ours in text
        text = text.replace(ours, here)
    return dict(yaml.safe_load(re.sub(r"(scrape|evaluation)_interval: \d+s", r"\1_interval: 1s", text)))


def queries(dashboard: Path) -> list[str]:
    panels = json.loads(dashboard.read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def has_data(port: int, query: str) -> bool:
    answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    return any(np.isfinite(float(series["value"][1])) for series in answer["data"]["result"])


def needs_prometheus() -> str:
    """Return Debian's Prometheus; `.ci/run` installs it."""
    found = shutil.which("prometheus")
    if found is None:
        reason = "prometheus is not on this machine (apt-get install prometheus)"
        if os.environ.get("CI") == "true":  # noqa: TID251
            pytest.fail(reason)
        pytest.skip(reason)
    return found
