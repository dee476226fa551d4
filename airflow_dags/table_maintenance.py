"""Every night after the retraining: old rows deleted, files compacted and sorted, unused ones removed; then all suites."""

from afterclick_tasks import EVENTS, QUARANTINE, SCHEDULED, SESSIONS, submit
from airflow.sdk import DAG

with DAG(
    "table_maintenance",
    description="compact, vacuum, validate",
    schedule="15 4 * * *",
    doc_md=__doc__,
    **SCHEDULED,
):
    maintain = submit("maintain_tables", "maintain_tables", outlets=[EVENTS, SESSIONS, QUARANTINE])
    validate = submit("validate_tables", "validate_tables", retries=0)  # a broken suite does not mend by asking again
    maintain >> validate
