"""The pages of docs/reference say what the code says; `make golden` writes them anew."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client import generate_latest
from reference_pages import FOLDER, http_page, metrics_page, settings_page, tables_page

from afterclick.collector.ingest import Metrics
from afterclick.job_metrics import JobMetrics, RunMetrics
from afterclick.schemas import TABLES
from afterclick.serving.app import create_app
from afterclick.settings import Settings

GOLDEN = Path("tests/contract/golden")
DOCUMENTS = {"Collector": GOLDEN / "collector_openapi.json", "Recommendations": GOLDEN / "serving_openapi.json"}


def assert_page(name: str, actual: str) -> None:
    path = FOLDER / name
    if os.environ.get("AFTERCLICK_GOLDEN") == "1":  # noqa: TID251
        path.parent.mkdir(exist_ok=True)
        path.write_text(actual, encoding="utf-8")
    assert path.exists(), f"{path} is missing: run `make golden`"
    assert actual == path.read_text(encoding="utf-8"), f"{path} differs from the code: run `make golden`"


@pytest.mark.parametrize(
    ("name", "page"),
    [("settings.md", settings_page), ("tables.md", tables_page), ("http.md", lambda: http_page(DOCUMENTS))],
)
def test_page_is_as_the_code(name: str, page: Callable[[], str]) -> None:
    assert_page(name, page())


def test_metrics_page_is_as_the_code(settings: Settings) -> None:
    texts = {
        "Streams": generate_latest(JobMetrics().registry).decode(),
        "Jobs that end": generate_latest(RunMetrics().registry).decode(),
        "Collector": generate_latest(Metrics().registry).decode(),
        "Recommendations": TestClient(create_app(settings)).get("/metrics").text,
    }

    assert_page("metrics.md", metrics_page(texts))


def test_settings_page_has_every_key_and_no_secret(settings: Settings) -> None:
    page = settings_page()

    for section, fields in settings.model_dump(exclude={"spark"}).items():
        for key in fields if isinstance(fields, dict) and hasattr(getattr(settings, section), "model_fields") else ():
            assert f"| `{key}` |" in page, f"{section}.{key}"
    assert settings.privacy.pseudonym_key.get_secret_value() not in page


def test_tables_page_has_every_column() -> None:
    page = tables_page()

    assert all(f"| `{column}` |" in page for schema in TABLES.values() for column in schema.fieldNames())
