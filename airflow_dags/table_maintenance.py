"""Every night after the retraining: old rows deleted, files compacted and sorted, unused ones removed; then all suites."""

from datetime import UTC, datetime

from afterclick_tasks import DEFAULTS, EVENTS, PARAMS, QUARANTINE, SESSIONS, submit
from airflow.sdk import DAG

with DAG(
    "table_maintenance",
    description="compact, vacuum, validate",
    schedule="15 4 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=PARAMS,
    tags=["afterclick"],
    doc_md=__doc__,
):
    maintain = submit("maintain_tables", "maintain_tables", outlets=[EVENTS, SESSIONS, QUARANTINE])
    validate = submit("validate_tables", "validate_tables", retries=0)  # a broken suite does not mend by asking again
    maintain >> validate
