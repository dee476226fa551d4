"""Through the day: the champion with the items that came since, and the counts of now. Nothing is trained.

Paused until somebody wants it: each run writes everybody's list anew, as a night does.
"""

from afterclick_tasks import DAY_OR_MOMENT, EVENTS, SCHEDULED, command, submit
from airflow.sdk import DAG, Param

DATE = "{{ params.date or ((dag_run.logical_date or dag_run.run_after).strftime('%Y-%m-%dT%H:%M')) }}"
"""A model is registered once for each moment; those of nights have a date alone."""
TOLD = "logical moment, if not the run's own: 2026-11-27T15:45"
MOMENT = Param(None, type=["null", "string"], pattern=DAY_OR_MOMENT, description=TOLD)

with DAG(
    "refresh_model",
    description="new items between two trainings: extend, judge, warm, switch, verify",
    schedule="15 6-22/4 * * *",
    render_template_as_native_obj=False,
    is_paused_upon_creation=True,
    doc_md=__doc__,
    **{**SCHEDULED, "params": {"date": MOMENT}},
):
    refresh = submit("refresh_model", "refresh_model", "--date", DATE, inlets=[EVENTS])
    evaluate = submit("evaluate", "promote_model", "--judge-only", "--date", DATE)
    gate = command("gate", "model", "gate", "--date", DATE, retries=0)  # a refusal does not change by asking again
    warm = submit("warm_cache", "warm_cache", "--no-switch", "--date", DATE)
    switch = command("switch", "model", "switch", "--date", DATE)
    verify = command("verify", "model", "verify", "--date", DATE)
    refresh >> evaluate >> gate >> warm >> switch >> verify
