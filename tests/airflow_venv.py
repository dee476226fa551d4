"""Airflow lives in its own virtual environment: how tests find it and what its processes are told."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from afterclick.local.jars import default_cache_dir
from afterclick.local.java import SHORT_LIVED, find_java
from afterclick.settings import Settings
from builders import variables_of
from jobs.import_history import import_log

AIRFLOW_PYTHON = Path(".venv-airflow/bin/python").absolute()


def need_airflow() -> None:
    """Skip where Airflow is not installed; in CI that is a failure."""
    if AIRFLOW_PYTHON.exists():
        return
    reason = f"{AIRFLOW_PYTHON} is not there: run `make setup-airflow`"
    if os.environ.get("CI") == "true":  # noqa: TID251
        pytest.fail(reason)
    pytest.skip(reason)


def airflow_variables(home: Path, **more: str) -> dict[str, str]:
    """Environment of an Airflow process that knows nothing but our DAGs."""
    ours = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path("airflow_dags").absolute()),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_AFTERCLICK_SPARK": '{"conn_type": "spark", "host": "local[4]"}',
        "PYTHONPATH": str(Path("airflow_dags").absolute()),
        "AFTERCLICK_HOME": str(Path.cwd()),
        "PATH": os.environ["PATH"],  # noqa: TID251 - handed on
        "HOME": os.environ.get("HOME", "/root"),  # noqa: TID251
        **SHORT_LIVED,
        "TZ": "UTC",
    }
    return {**ours, **more}


def purchases(people: int = 400) -> pa.Table:
    """Everybody buys six things of one of four kinds of ten items, one a day."""
    draw = np.random.default_rng(1)
    kind = np.repeat(draw.integers(4, size=people), 6)
    begun = datetime(2026, 11, 1, tzinfo=UTC)
    columns: dict[str, Any] = {
        "subject_id": [f"person-{number}" for number in np.repeat(np.arange(people), 6)],
        "item_id": [f"item-{10 * k + i}" for k, i in zip(kind, draw.integers(10, size=len(kind)), strict=True)],
        "event_type": ["purchase"] * len(kind),
    }
    times = [begun + timedelta(days=int(day)) for day in np.tile(np.arange(6), people)]
    return pa.table({**columns, "event_at": pa.array(times, pa.timestamp("us", "UTC"))})


def job_variables(live: Settings, home: Path) -> dict[str, str]:
    """Return what Airflow hands on to the jobs: this installation, and gates that suit a small shop."""
    jobs = {
        **variables_of(live),
        "AFTERCLICK_MODEL__RANK": "8",
        "AFTERCLICK_PROMOTION__MIN_HOLDOUT_PEOPLE": "5",
        "AFTERCLICK_DAG_RETRIES": "0",
        "JAVA_HOME": str(find_java(default_cache_dir())),
    }
    return airflow_variables(home, **jobs)


def run_airflow(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command of Airflow to its end."""
    command = [str(AIRFLOW_PYTHON), "-m", "airflow", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)  # noqa: S603


def prepare_shop(spark: SparkSession, live: Settings, home: Path) -> dict[str, str]:
    """Import a small shop's purchases, pack the jobs and make Airflow's database; return the variables of its processes."""
    need_airflow()
    import_log(spark, live, purchases(), digest="shop", purposes=["analytics", "personalisation"])
    subprocess.run(["./spark-submit.sh", "pack"], check=True)
    variables = job_variables(live, home)
    migrated = run_airflow(variables, "db", "migrate")
    assert migrated.returncode == 0, migrated.stderr[-3000:]
    return variables
