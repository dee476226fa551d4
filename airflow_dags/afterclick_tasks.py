"""What the DAGs share: how a job is submitted, how a command is called, and who is told of a failure.

None of our library is imported: Airflow lives in its own virtual environment. Everything that differs between
installations comes from the environment of Airflow's processes:

AFTERCLICK_HOME             the project's folder (default: the one this file lies in)
AFTERCLICK_ENVIRONMENT      conf/<environment>.yaml (default: local)
AIRFLOW_CONN_AFTERCLICK_SPARK   the master, as ``{"conn_type": "spark", "host": "local[4]"}``
AFTERCLICK_ALERT_URL        optional web hook that gets one JSON object per failed task
AFTERCLICK_DAG_RETRIES      attempts after the first (default 2)
and whatever the jobs themselves read (``AFTERCLICK_<SECTION>__<KEY>``); no secret passes through a DAG.
"""

import json
import logging
import os
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, Param

logger = logging.getLogger(__name__)

HOME = Path(os.environ.get("AFTERCLICK_HOME") or Path(__file__).resolve().parent.parent)
ENVIRONMENT = os.environ.get("AFTERCLICK_ENVIRONMENT", "local")
PYTHON = os.environ.get("AFTERCLICK_PYTHON") or str(HOME / ".venv" / "bin" / "python")
FOR_JOBS = {
    "AFTERCLICK_ENVIRONMENT": ENVIRONMENT,
    "AFTERCLICK_CONF_DIR": str(HOME / "conf"),
    "PYSPARK_PYTHON": PYTHON,
    "PYSPARK_DRIVER_PYTHON": PYTHON,
}
DATE = "{{ params.date or ((dag_run.logical_date or dag_run.run_after) | ds) }}"
"""Logical date: the parameter, else the run's own; a model is registered once for each."""
DAY_OR_MOMENT = r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2})?$"
TOLD = "logical date, or a moment by day (2026-11-24T15:00), if not the run's own"
PARAMS = {"date": Param(None, type=["null", "string"], pattern=DAY_OR_MOMENT, description=TOLD)}
EVENTS, SESSIONS, QUARANTINE = (
    Asset(name, uri=f"delta://afterclick/{name}") for name in ("events", "sessions", "quarantine")
)
CHAMPION = Asset("champion", uri="mlflow://afterclick/champion")


def tell_failure(context: Any) -> None:
    """Post one JSON object about a failed task to the alert channel; a channel that is away fails nothing."""
    task = context["task_instance"]
    told = {"dag": task.dag_id, "task": task.task_id, "run": task.run_id, "try": task.try_number}
    told |= {"error": str(context.get("exception"))[:2_000], "runbook": "docs/operations.md"}
    logger.error("task failed %s", told)
    url = os.environ.get("AFTERCLICK_ALERT_URL")
    if not url:
        return
    request = urllib.request.Request(url, json.dumps(told).encode(), {"Content-Type": "application/json"})  # noqa: S310
    try:
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - the operator's own address
    except OSError as error:
        logger.warning("alert channel did not take it: %r", error)


DEFAULTS: dict[str, Any] = {
    "retries": int(os.environ.get("AFTERCLICK_DAG_RETRIES", "2")),
    "retry_delay": timedelta(minutes=2),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=30),
    "execution_timeout": timedelta(hours=6),
    "on_failure_callback": [tell_failure],
    "do_xcom_push": False,
}
SCHEDULED: dict[str, Any] = {
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": DEFAULTS,
    "params": PARAMS,
    "tags": ["afterclick"],
}
"""What every DAG says beside its name, its schedule and what it is for."""


def submit(task_id: str, job: str, *arguments: str, **options: Any) -> SparkSubmitOperator:
    """Return a task that submits ``jobs/<job>.py`` as `spark-submit.sh` does; a retry finds a driver that still runs."""
    return SparkSubmitOperator(
        task_id=task_id,
        application=str(HOME / "jobs" / f"{job}.py"),
        application_args=["--environment", ENVIRONMENT, *arguments],
        py_files=str(HOME / "dist" / "afterclick-lib.zip"),
        properties_file=str(HOME / "dist" / f"spark-{ENVIRONMENT}.properties"),
        spark_binary=os.environ.get("AFTERCLICK_SPARK_SUBMIT") or str(HOME / ".venv" / "bin" / "spark-submit"),
        conn_id="afterclick_spark",
        name=job,
        env_vars=FOR_JOBS,
        durable=True,
        **options,
    )


def command(task_id: str, *arguments: str, **options: Any) -> BashOperator:
    """Return a task that calls the command-line program: what needs no Spark must not wait for it."""
    return BashOperator(
        task_id=task_id,
        bash_command=" ".join([PYTHON, "-m", "afterclick.cli", *arguments]),
        env=FOR_JOBS,
        append_env=True,
        cwd=str(HOME),
        **options,
    )
