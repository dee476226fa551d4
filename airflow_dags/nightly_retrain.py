"""Every night: valid tables, a candidate from all accepted events, its gates, a warm cache, the switch, and proof of it."""

from afterclick_tasks import CHAMPION, DATE, EVENTS, SCHEDULED, command, submit
from airflow.sdk import DAG, Param

BACKEND = Param("settings", enum=["settings", "implicit", "mllib"], description="who trains; settings: model.backend")

with DAG(
    "nightly_retrain",
    description="train, judge, warm, switch, verify",
    schedule="15 2 * * *",
    render_template_as_native_obj=False,
    doc_md=__doc__,
    **{**SCHEDULED, "params": {**SCHEDULED["params"], "backend": BACKEND}},
):
    validate = submit("validate_tables", "validate_tables", inlets=[EVENTS], retries=0)
    train = submit("train_model", "train_model", "--date", DATE, "--backend", "{{ params.backend }}", inlets=[EVENTS])
    evaluate = submit("evaluate", "promote_model", "--judge-only", "--date", DATE)
    gate = command("gate", "model", "gate", "--date", DATE, retries=0)  # a refusal does not change by asking again
    warm = submit("warm_cache", "warm_cache", "--no-switch", "--date", DATE)
    switch = command("switch", "model", "switch", "--date", DATE, outlets=[CHAMPION])
    verify = command("verify", "model", "verify", "--date", DATE)
    audit = command("audit", "model", "changes", "--json")
    validate >> train >> evaluate >> gate >> warm >> switch >> verify >> audit
