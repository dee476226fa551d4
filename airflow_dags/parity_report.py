"""Every night after the retraining: how far the lists that were folded in since are from those of the new model."""

from afterclick_tasks import CHAMPION, EVENTS, SCHEDULED, submit
from airflow.sdk import DAG

with DAG(
    "parity_report",
    description="fold-in against full retrain",
    schedule="15 5 * * *",
    doc_md=__doc__,
    **SCHEDULED,
):
    submit("report_parity", "report_parity", inlets=[EVENTS, CHAMPION])
