"""Airflow's own scheduler runs the night by its clock; upkeep and parity by `dags test`; two trainings of one date overlap."""

import json
import logging
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables, model_registry, redis_store
from afterclick.connectors.model_changes import list_changes
from afterclick.local.processes import free_port
from afterclick.settings import Settings
from airflow_venv import AIRFLOW_PYTHON, prepare_shop, run_airflow
from builders import make_model
from nightly import NIGHTLY

logger = logging.getLogger(__name__)
pytestmark = [
    NIGHTLY,
    pytest.mark.timeout(3600),
]


class RunningAirflow:
    """The REST API of an Airflow on loopback."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self._token = ""

    def log_in(self, *, within_seconds: float) -> None:
        deadline = time.monotonic() + within_seconds
        while not self._token:
            try:
                self._token = self._ask("GET", "/auth/token")["access_token"]
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def unpause(self, dag_id: str, *, within_seconds: float) -> None:
        """Wait until the DAG's file has been read, then let the scheduler have it."""
        deadline, is_known = time.monotonic() + within_seconds, False
        while not is_known:
            try:
                is_known = not self._ask("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})["is_paused"]
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(2)

    def wait_for_run(self, dag_id: str, *, within_seconds: float) -> dict[str, Any]:
        """Return the DAG's only run once it has ended."""
        deadline = time.monotonic() + within_seconds
        while True:
            runs = self._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
            if runs and runs[0]["state"] in {"success", "failed"}:
                assert len(runs) == 1
                return dict(runs[0])
            assert time.monotonic() < deadline, runs
            time.sleep(2)

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        found = self._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] for task in found}

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self._address + path, data, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def airflow_of(variables: dict[str, str], logs: Path) -> Iterator[RunningAirflow]:
    """Run what `airflow standalone` runs, but for its log servers, which listen on all addresses, and the triggerer."""
    port = free_port()
    more = {
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    }
    commands = {
        "api-server": ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        "scheduler": ["--skip-serve-logs"],
        "dag-processor": [],
    }
    running = []
    try:
        for name, arguments in commands.items():
            with (logs / f"{name}.log").open("wb") as log:
                command = [str(AIRFLOW_PYTHON), "-m", "airflow", name, *arguments]
                running.append(subprocess.Popen(command, stdout=log, stderr=log, env=variables | more))  # noqa: S603
        opened = RunningAirflow(port)
        opened.log_in(within_seconds=600)
        yield opened
    finally:
        for process in reversed(running):
            process.terminate()
        for process in reversed(running):
            process.wait(60)


def test_the_scheduler_runs_the_night_by_its_clock_to_a_served_champion(
    spark: SparkSession, live: Settings, tmp_path: Path
) -> None:
    variables = prepare_shop(spark, live, tmp_path / "airflow")
    night = datetime.now(UTC) - timedelta(hours=2, minutes=15)

    begun = time.monotonic()
    with airflow_of(variables, tmp_path) as airflow:
        airflow.unpause("nightly_retrain", within_seconds=600)
        run = airflow.wait_for_run("nightly_retrain", within_seconds=2400)
        states = airflow.states("nightly_retrain", run["dag_run_id"])
    logger.info("scheduled night took %.0f s", time.monotonic() - begun)

    assert run["run_type"] == "scheduled"
    assert (run["state"], set(states.values()), len(states)) == ("success", {"success"}, 8), states
    client = model_registry.open_registry(live)
    versions = model_registry.list_versions(client, live)
    assert [(row["date"], row["status"]) for row in versions] == [(f"{night:%Y-%m-%d}", "passed")]
    version = versions[0]["version"]
    assert redis_store.connect(live.redis).served_version() == version
    assert model_registry.champion_version(client, live) == version
    assert [row["served"] for row in list_changes(client, live)] == [version]


def test_upkeep_and_parity_run_in_a_real_airflow(spark: SparkSession, live: Settings, tmp_path: Path) -> None:
    variables = prepare_shop(spark, live, tmp_path / "airflow")
    client = model_registry.open_registry(live)
    for seed, version in enumerate(("old", "new")):
        model = make_model(items=40, seed=seed, version=version, trained_at="2026-11-03T00:00:00+00:00")
        model_registry.register_model(client, live, model, parameters={}, metrics={})
    model_registry.set_alias(client, live, model_registry.CHAMPION, "old")

    for dag_id in ("table_maintenance", "parity_report"):
        done = run_airflow(variables, "dags", "test", dag_id, "2026-11-24")
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]

    history = spark.sql(f"DESCRIBE HISTORY delta.`{delta_tables.table_path(live, 'events')}`").collect()
    assert "OPTIMIZE" in {row.operation for row in history}
    bins = delta_tables.read_table(spark, live, "parity").where("grouped_by = 'all'").collect()
    assert [(row.served_version, row.retrained_version) for row in bins] == [("old", "new")]
    assert bins[0].people == 400
    assert 0 < bins[0].overlap < 1


def test_trainings_of_one_date_that_overlap_or_come_late_leave_one_version(
    spark: SparkSession, live: Settings, tmp_path: Path
) -> None:
    variables = os.environ | prepare_shop(spark, live, tmp_path / "airflow")  # noqa: TID251 - handed on
    variables["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")  # noqa: TID251
    command = [sys.executable, "-m", "jobs.train_model", "--date", "2026-11-23"]

    both = [subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) for _ in range(2)]  # noqa: S603
    told = [process.communicate(timeout=1200)[1] for process in both]
    late = subprocess.run(command, env=variables, check=False, timeout=1200).returncode  # noqa: S603

    assert ([process.returncode for process in both], late) == ([0, 0], 0), "\n\n".join(text[-3000:] for text in told)
    assert sum("model trained" in text for text in told) == 2, "they did not overlap: nothing was shown"
    versions = model_registry.list_versions(model_registry.open_registry(live), live)
    assert [row["date"] for row in versions] == ["2026-11-23"]
