"""The status page without services: a running job's figures, who may see people, and that text stays text."""

import html
import re
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from afterclick.job_metrics import JobMetrics
from afterclick.metrics_export import exported_metrics
from afterclick.serving import app as serving
from afterclick.settings import Settings


def test_page_shows_the_figures_of_a_running_job(settings: Settings) -> None:
    metrics = JobMetrics()
    waited = np.array([160] * 97 + [2500] * 3)
    metrics.count_lists(10_000 - waited, {"view": 90, "cart": 10}, {"written": 80}, now_ms=10_000)
    fates = {"events": 95, "quarantine": 4, "no_consent": 1}
    metrics.count_fates({"consumed": 101, **fates}, fates)
    metrics.active.labels("ingest_events").set(1)
    metrics.lag.labels("ingest_events").set(7)
    metrics.batch_seconds.labels("ingest_events").observe(0.08)
    metrics.last_batch.labels("ingest_events").set(time.time())
    metrics.active.labels("build_sessions").set(0)

    with exported_metrics("streams", metrics, settings.metrics):
        page = ask(serving.create_app(settings), "127.0.0.1", "/status").text

    figures = dict(re.findall(r'data-figure="([^"]+)">([^<]*)<', html.unescape(page)))
    assert figures["freshness:p50"] == "176 ms"
    assert (figures["freshness:late"], figures["freshness:events"]) == ("3.00 %", "100")
    assert {key: figures[key] for key in figures if key.startswith("Fates")} == {
        f"Fates:{fate}": str(count) for fate, count in fates.items()
    }
    assert "Without a fate in the last batch: 1." in page
    assert figures["lag:ingest_events"] == "7"
    assert '<td class="bad">ended</td>' in page
    assert "No answer from: collector" in page


def test_job_that_crashed_is_named(settings: Settings) -> None:
    assert settings.metrics.discovery_dir
    entry = Path(settings.metrics.discovery_dir) / "streams.json"
    entry.parent.mkdir(parents=True)
    entry.write_text('[{"targets": ["127.0.0.1:1"], "labels": {"name": "streams"}}]', encoding="utf-8")

    assert "No answer from: collector, streams" in ask(serving.create_app(settings), "127.0.0.1", "/status").text


@pytest.mark.parametrize(("name", "status"), [("status.css", 200), ("status.js", 200), ("person.html", 404)])
def test_only_the_pages_own_files_are_served(name: str, status: int, settings: Settings) -> None:
    assert ask(serving.create_app(settings), "127.0.0.1", f"/status/files/{name}").status_code == status


@pytest.mark.parametrize("path", ["/status/person?user_id=ada", "/status/item?item_id=mug"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example"])
def test_people_and_items_are_not_shown_to_a_page_from_elsewhere(host: str, path: str, settings: Settings) -> None:
    answer = ask(serving.create_app(settings), host, path)

    assert answer.status_code == 403


def test_item_page_says_why_there_is_nothing_to_show(settings: Settings) -> None:
    answer = ask(serving.create_app(settings), "127.0.0.1", "/status/item?item_id=mug")

    assert answer.status_code == 200
    assert "there is no model yet" in answer.text


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
