"""Every DAG loads in Airflow's own environment, renders strictly, and runs the commands agreed on."""

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_venv import AIRFLOW_PYTHON, airflow_variables, need_airflow
from golden_files import assert_golden

DAGS = sorted(path.stem for path in Path("airflow_dags").glob("*.py") if path.stem != "afterclick_tasks")


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Ask Airflow's Python what the DAGs are."""
    need_airflow()
    variables = airflow_variables(tmp_path_factory.mktemp("airflow"))
    command = [str(AIRFLOW_PYTHON), "tests/dags/describe_dags.py", "airflow_dags"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)  # noqa: S603
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_every_dag_file_loads_and_holds_the_dag_of_its_name(described: dict[str, Any]) -> None:
    assert described["errors"] == {}
    assert sorted(described["dags"]) == DAGS


def test_command_lines_are_as_agreed(described: dict[str, Any]) -> None:
    lines = []
    for dag_id, dag in described["dags"].items():
        lines.append(f"{dag_id}: {dag['schedule']}")
        for name, task in dag["tasks"].items():
            lines.append(f"  {name} <- {', '.join(task['after']) or 'start'} (retries {task['retries']})")
            lines.append(f"    {' '.join(task['command'])}")
    assert_golden("dags.txt", "\n".join(lines).replace(str(Path.cwd()), "ROOT") + "\n")


def test_an_early_training_has_a_date_of_its_own_and_there_is_one_a_day(described: dict[str, Any]) -> None:
    """Both DAGs are described as of 02:15: with the night's date the early run would keep the night's version."""
    night = described["dags"]["nightly_retrain"]
    _, dag_id, run_id, conf = described["dags"]["watch_relevance"]["tasks"]["retrain_early"]["command"]

    trained = night["tasks"]["train_model"]["command"]
    assert trained[trained.index("--date") + 1] == "2026-11-24"
    assert (dag_id, run_id, json.loads(conf)) == ("nightly_retrain", "early__2026-11-24", {"date": "2026-11-24T02:15"})
    assert night["dates_taken"] == ["2026-11-24", "2026-11-24T15:00"]


def test_every_task_alerts_and_none_pushes_to_xcom(described: dict[str, Any]) -> None:
    tasks = [task for dag in described["dags"].values() for task in dag["tasks"].values()]

    assert all(task["alerts"] and not task["pushes_xcom"] for task in tasks)
    assert {dag["max_active_runs"] for dag in described["dags"].values()} == {1}


def test_every_job_that_a_dag_names_exists(described: dict[str, Any]) -> None:
    words = {word for dag in described["dags"].values() for task in dag["tasks"].values() for word in task["command"]}
    jobs = {Path(word) for word in words if "/jobs/" in word}

    assert jobs
    assert [job for job in jobs if not job.is_file()] == []


def test_dags_import_none_of_our_code() -> None:
    for path in Path("airflow_dags").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"afterclick", "jobs"}, f"{path}: {names}"
