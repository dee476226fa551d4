"""Every half hour: how live traffic fares under the champion; roll back when it is worse, retrain early on drift."""

from afterclick_tasks import EVENTS, SCHEDULED, command, submit
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

EARLY_RUN = "early__{{ (dag_run.logical_date or dag_run.run_after) | ds }}"
"""One a day: while traffic stays drifted, or the early model is refused, the next half hours start nothing."""
MOMENT = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y-%m-%dT%H:%M') }}"
"""A date of its own: the night's has a version already, and keeps it."""

with DAG(
    "watch_relevance",
    description="measure, roll back, retrain early",
    schedule="*/30 * * * *",
    doc_md=__doc__,
    **SCHEDULED,
):
    # A rollback ends with 1 so that somebody is told; measuring again would not undo it.
    measure = submit("measure_relevance", "measure_relevance", "--act", inlets=[EVENTS], retries=0)
    drifted = command("drift", "model", "drift", skip_on_exit_code=1, retries=0)
    retrain = TriggerDagRunOperator(
        task_id="retrain_early",
        trigger_dag_id="nightly_retrain",
        trigger_run_id=EARLY_RUN,
        conf={"date": MOMENT},
        skip_when_already_exists=True,
    )
    measure >> drifted >> retrain
