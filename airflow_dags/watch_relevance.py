"""Every half hour: how live traffic fares under the champion; roll back when it is worse, retrain early on drift."""

from datetime import UTC, datetime

from afterclick_tasks import DEFAULTS, EVENTS, PARAMS, command, submit
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

with DAG(
    "watch_relevance",
    description="measure, roll back, retrain early",
    schedule="*/30 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=PARAMS,
    tags=["afterclick"],
    doc_md=__doc__,
):
    # A rollback ends with 1 so that somebody is told; measuring again would not undo it.
    measure = submit("measure_relevance", "measure_relevance", "--act", inlets=[EVENTS], retries=0)
    drifted = command("drift", "model", "drift", skip_on_exit_code=1, retries=0)
    retrain = TriggerDagRunOperator(
        task_id="retrain_early", trigger_dag_id="nightly_retrain", skip_when_already_exists=True
    )
    measure >> drifted >> retrain
