"""Every night after the retraining: how far the lists that were folded in since are from those of the new model."""

from datetime import UTC, datetime

from afterclick_tasks import CHAMPION, DEFAULTS, EVENTS, PARAMS, submit
from airflow.sdk import DAG

with DAG(
    "parity_report",
    description="fold-in against full retrain",
    schedule="15 5 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=PARAMS,
    tags=["afterclick"],
    doc_md=__doc__,
):
    submit("report_parity", "report_parity", inlets=[EVENTS, CHAMPION])
