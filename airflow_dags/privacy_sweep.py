"""Every hour: erasures that wait go on, store by store, and rows of withdrawn people are deleted."""

from afterclick_tasks import SCHEDULED, submit
from airflow.sdk import DAG

with DAG(
    "privacy_sweep",
    description="erasures that wait, rows of withdrawn people",
    schedule="45 * * * *",
    doc_md=__doc__,
    **SCHEDULED,
):
    submit("erase_subjects", "erase_subjects")
