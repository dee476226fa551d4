"""The nightly DAG, run by Airflow itself, on real Spark, Delta, MLflow and Valkey."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import model_registry, redis_store
from afterclick.connectors.model_changes import list_changes
from afterclick.local.jars import default_cache_dir
from afterclick.local.java import find_java
from afterclick.settings import Settings
from airflow_venv import AIRFLOW_PYTHON, airflow_variables, need_airflow
from builders import KEY
from jobs.import_history import import_log
from jobs.train_model import train_candidate

DATE = "2026-11-23"
pytestmark = pytest.mark.timeout(900)


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


def variables_of(live: Settings, home: Path) -> dict[str, str]:
    """Return what Airflow hands on to the jobs: this installation, and gates that suit a small shop."""
    jobs = {
        "AFTERCLICK_STATE_DIR": str(live.state_dir),
        "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": live.kafka.bootstrap_servers,
        "AFTERCLICK_REDIS__URL": live.redis.url.get_secret_value(),
        "AFTERCLICK_REDIS__PREFIX": live.redis.prefix,
        "AFTERCLICK_PRIVACY__PSEUDONYM_KEY": KEY.decode(),
        "AFTERCLICK_MODEL__RANK": "8",
        "AFTERCLICK_PROMOTION__MIN_HOLDOUT_PEOPLE": "5",
        "AFTERCLICK_DAG_RETRIES": "0",
        "JAVA_HOME": str(find_java(default_cache_dir())),
    }
    return airflow_variables(home, **jobs)


def airflow(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(AIRFLOW_PYTHON), "-m", "airflow", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)  # noqa: S603


def test_nightly_retrain_ends_with_a_served_champion_and_one_version_a_date(
    spark: SparkSession, live: Settings, tmp_path: Path
) -> None:
    need_airflow()
    import_log(spark, live, purchases(), digest="shop", purposes=["analytics", "personalisation"])
    subprocess.run(["./spark-submit.sh", "pack"], check=True)
    variables = variables_of(live, tmp_path / "airflow")
    assert airflow(variables, "db", "migrate").returncode == 0

    done = airflow(variables, "dags", "test", "nightly_retrain", DATE)

    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    client = model_registry.open_registry(live)
    versions = model_registry.list_versions(client, live)
    assert [(row["date"], row["status"], row["aliases"]) for row in versions] == [
        (DATE, "passed", ["challenger", "champion"])
    ]
    version = versions[0]["version"]
    store = redis_store.connect(live.redis)
    assert store.served_version() == version
    assert len(list(store.client.scan_iter(f"{live.redis.prefix}r:{version}:*"))) == 400
    assert [row["served"] for row in list_changes(client, live)] == [version]
    assert train_candidate(spark, live, DATE) == version
    assert len(model_registry.list_versions(client, live)) == 1
