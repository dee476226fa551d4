"""Every hour: erasures that wait go on, store by store, and rows of withdrawn people are deleted."""

from datetime import UTC, datetime

from afterclick_tasks import DEFAULTS, PARAMS, submit
from airflow.sdk import DAG

with DAG(
    "privacy_sweep",
    description="erasures that wait, rows of withdrawn people",
    schedule="45 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=PARAMS,
    tags=["afterclick"],
    doc_md=__doc__,
):
    submit("erase_subjects", "erase_subjects")
