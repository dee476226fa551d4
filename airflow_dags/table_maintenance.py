"""Every night after the retraining: sessions repaired, old rows deleted, files compacted, unused ones removed; then suites."""

from afterclick_tasks import EVENTS, QUARANTINE, SCHEDULED, SESSIONS, submit
from airflow.sdk import DAG

with DAG(
    "table_maintenance",
    description="repair sessions, compact, vacuum, validate",
    schedule="15 4 * * *",
    doc_md=__doc__,
    **SCHEDULED,
):
    repair = submit("repair_sessions", "repair_sessions", outlets=[SESSIONS])
    maintain = submit("maintain_tables", "maintain_tables", outlets=[EVENTS, SESSIONS, QUARANTINE])
    validate = submit("validate_tables", "validate_tables", retries=0)  # a broken suite does not mend by asking again
    repair >> maintain >> validate
