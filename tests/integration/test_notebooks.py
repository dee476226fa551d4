"""Each notebook in a kernel of its own, on tables that the jobs' own code has written; its figures are checked."""

import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables, model_registry
from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.quality import flag_violations, read_suite
from afterclick.schemas import TABLES
from afterclick.settings import Settings, load_settings
from builders import NOW, kafka_rows, make_message, make_model, make_session, rows_of, subject
from conftest import installation_variables
from jobs.ingest_events import write_events
from nightly import NIGHTLY

NOTEBOOKS = sorted(Path("notebooks").glob("*.ipynb"))
SHOWN_EACH_TIME = ("privacy_report", "recommendation_quality", "why_this_list")
"""The others are shown in `make nightly`."""
_RELEVANCE = {"measured_at": NOW, "since": NOW - timedelta(days=1), "mean_reciprocal_rank": 0.1, "coverage": 0.4}
_PARITY = {
    **{"measured_at": NOW, "since": NOW - timedelta(days=1), "served_version": "v0", "retrained_version": "v1"},
    **{"grouped_by": "history_length", "people": 40, "distance": 0.2, "visits": 0},
}
EXPECTED = {
    "behaviour_funnel": [r"any 3 1\.0", r"ordered 1 0\.3333", "2026-11-24 1 4"],
    "session_quality": [r"count 3\.0+ 3\.0+", "sessions that overlap 0", r"unknown 3 3\.0"],
    "recommendation_quality": [
        *(r"champion v1 50 0\.25", r"control v0 50 0\.20 ", r"\[champion\]"),
        r"history_length 2-5 40 0\.75 0\.2",
    ],
    "privacy_report": ["8 5 0 1 1 1", r"\(anybody\) 2 1\.0", "malformed 1 0", "late_events 0"],
    "why_this_list": ["item-3 .* Thing 3", "view-2|\\[item-0\\]"],
}
"""What the output of each must say, as patterns."""
PICTURES = {"recommendation_quality": 2}
"""Where it is not one."""


def append(spark: SparkSession, settings: Settings, table: str, rows: list[dict[str, Any]]) -> None:
    delta_tables.append_once(rows_of(spark, TABLES[table], rows), settings, query="test", table=table, batch_id=0)


@pytest.fixture(scope="module")
def lake(spark: SparkSession, _empty_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Eight messages through ingest, three sessions, two measurements, a report of parity and a champion."""
    settings = load_settings("local", variables=installation_variables(tmp_path_factory.mktemp("lake")))
    shutil.copytree(_empty_tables, settings.storage.tables)
    ada, bob = subject("ada"), subject("bob")
    items = [{"item_id": f"item-{number}", "quantity": 1, "price": 2.0} for number in range(3)]
    by_bob = make_message(event_id="bob", subject_id=bob, items=items[:1], consent=["analytics"])
    messages: list[Any] = [
        *(make_message(event_id=f"view-{n}", subject_id=ada, items=[item]) for n, item in enumerate(items)),
        make_message(event_id="order", event_type="purchase", subject_id=ada, items=items[:1], order_id="o"),
        by_bob,
        by_bob,
        make_message(event_id="eve", subject_id=subject("eve"), consent=[]),
        b"\xff",
    ]
    checked = flag_violations(decode_events(kafka_rows(spark, messages)), read_suite(settings.suite_path("events")))
    write_events(checked, 0, settings=settings, clock=EventClock())
    later = make_session(session_id="1", started_at=NOW + timedelta(hours=1), ended_at=NOW + timedelta(hours=2))
    visits = [make_session(), later, make_session(session_id="2", subject_id=bob, purchase_count=1)]
    append(spark, settings, "sessions", visits)
    append(
        spark, settings, "items", [{"item_id": f"item-{n}", "name": f"Thing {n}", "category": "c"} for n in range(5)]
    )
    roles = [("champion", "v1", 0.25), ("control", "v0", 0.2)]
    measured = {**_RELEVANCE, "visits": 50, "fallback_share": 0.0}
    append(
        spark, settings, "relevance", [measured | {"role": r, "model_version": v, "hit_rate": h} for r, v, h in roles]
    )
    lengths = [("1", 1, 0.5), ("2-5", 2, 0.75)]
    append(
        spark,
        settings,
        "parity",
        [_PARITY | {"bin": name, "at_least": least, "overlap": share} for name, least, share in lengths],
    )
    client = model_registry.open_registry(settings)
    registered = model_registry.register_model(client, settings, make_model(), parameters={}, metrics={})
    model_registry.set_champion(client, settings, registered)
    return settings


def execute(notebook: Path, variables: dict[str, str]) -> Any:
    """Run a notebook where a user would, in the repository's folder."""
    loaded = nbformat.read(notebook, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        NotebookClient(loaded, timeout=300, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
    return loaded


def shown(notebook: Any) -> tuple[str, int]:
    """Return the text of all outputs without markup, and the number of pictures."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    data = [output["data"] for output in outputs if "data" in output]
    text = " ".join(one.get("text/html", one.get("text/plain", "")) for one in data)
    plain = re.sub(r"<style.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", plain), sum("image/png" in one for one in data)


@pytest.mark.parametrize(
    "notebook",
    [pytest.param(one, marks=[] if one.stem in SHOWN_EACH_TIME else NIGHTLY, id=one.stem) for one in NOTEBOOKS],
)
def test_notebook_shows_the_figures_of_the_tables(notebook: Path, lake: Settings) -> None:
    executed = execute(notebook, installation_variables(lake.state_dir))

    text, pictures = shown(executed)
    assert [pattern for pattern in EXPECTED[notebook.stem] if not re.search(pattern, text)] == [], text
    assert pictures == PICTURES.get(notebook.stem, 1)


@NIGHTLY
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_on_empty_tables_is_no_error(notebook: Path, tables: Settings) -> None:
    """A project's first day."""
    executed = execute(notebook, installation_variables(tables.state_dir))

    assert shown(executed)[1] <= PICTURES.get(notebook.stem, 1)


def test_every_notebook_is_expected_to_say_something() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(EXPECTED)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_without_outputs(notebook: Path) -> None:
    cells = nbformat.read(notebook, as_version=4).cells

    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
