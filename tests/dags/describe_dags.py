"""Run by Airflow's own Python: load every DAG, render every task strictly, print commands as one JSON object."""

import copy
import json
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.exceptions import ParamValidationError
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

DATES = ("2026-11-24", "2026-11-24T15:00", "yesterday", "2026-11-24; reboot")
NIGHT = datetime(2026, 11, 24, 2, 15, tzinfo=UTC)


def main() -> int:
    """Describe the DAGs of the folder given."""
    bag = DagBag(dag_folder=sys.argv[1])
    dags = {dag_id: describe(dag) for dag_id, dag in sorted(bag.dags.items())}
    print(json.dumps({"errors": {str(k): str(v) for k, v in bag.import_errors.items()}, "dags": dags}))  # noqa: T201
    return 0


def describe(dag: Any) -> dict[str, Any]:
    """Return a DAG's schedule and, by task in order, what it runs and with which retries."""
    context = {
        "params": {"date": None, **dag.params.dump()},
        "dag_run": SimpleNamespace(logical_date=NIGHT, run_after=NIGHT),
    }
    return {
        "schedule": str(getattr(dag.schedule, "expression", dag.schedule)),
        "max_active_runs": dag.max_active_runs,
        "dates_taken": [date for date in DATES if takes_date(dag, date)],
        "tasks": {task.task_id: describe_task(task, context) for task in dag.topological_sort()},
    }


def takes_date(dag: Any, date: str) -> bool:
    """Return whether a run may be triggered with this date."""
    params = copy.deepcopy(dag.params)
    try:
        params["date"] = date
    except ParamValidationError:
        return False
    return True


def describe_task(task: Any, context: dict[str, Any]) -> dict[str, Any]:
    """Return one task's command line with every template rendered; an undefined name is an error."""
    task.render_template_fields(context, task.get_template_env())
    if isinstance(task, SparkSubmitOperator):
        line = task._get_hook()._build_spark_submit_command(task.application)  # noqa: SLF001 - the provider's own
    elif hasattr(task, "trigger_dag_id"):
        line = ["trigger", task.trigger_dag_id, str(task.trigger_run_id), json.dumps(task.conf)]
    else:
        line = task.bash_command.split(" ")
    return {
        "command": line,
        "after": sorted(task.upstream_task_ids),
        "retries": task.retries,
        "alerts": bool(task.on_failure_callback),
        "pushes_xcom": task.do_xcom_push,
    }


if __name__ == "__main__":
    sys.exit(main())
