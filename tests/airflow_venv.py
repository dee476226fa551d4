"""Airflow lives in its own virtual environment: how tests find it and what its processes are told."""

import os
from pathlib import Path

import pytest

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
        "TZ": "UTC",
    }
    return {**ours, **more}
