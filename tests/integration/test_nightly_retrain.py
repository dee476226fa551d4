"""The nightly DAG, run by Airflow itself, on real Spark, Delta, MLflow and Valkey."""

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import model_registry, redis_store
from afterclick.connectors.model_changes import list_changes
from afterclick.settings import Settings
from airflow_venv import prepare_shop, run_airflow
from jobs.train_model import train_candidate
from nightly import NIGHTLY

DATE = "2026-11-23"
pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("backend", ["settings", pytest.param("mllib", marks=NIGHTLY)])
def test_nightly_retrain_ends_with_a_served_champion_and_one_version_a_date(
    spark: SparkSession, live: Settings, tmp_path: Path, backend: str
) -> None:
    variables = prepare_shop(spark, live, tmp_path / "airflow")

    done = run_airflow(variables, "dags", "test", "nightly_retrain", DATE, "--conf", json.dumps({"backend": backend}))

    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    client = model_registry.open_registry(live)
    versions = model_registry.list_versions(client, live)
    assert [(row["date"], row["status"], row["aliases"]) for row in versions] == [
        (DATE, "passed", ["challenger", "champion"])
    ]
    trained_by = client.get_run(versions[0]["run_id"]).data.params["backend"]
    assert trained_by == ("implicit" if backend == "settings" else backend)
    version = versions[0]["version"]
    store = redis_store.connect(live.redis)
    assert store.served_version() == version
    assert len(list(store.client.scan_iter(f"{live.redis.prefix}r:{version}:*"))) == 400
    assert [row["served"] for row in list_changes(client, live)] == [version]
    assert train_candidate(spark, live, DATE) == version
    assert len(model_registry.list_versions(client, live)) == 1
