"""The audit trail: one MLflow run for every change of what is served, with who, why and figures."""

import getpass
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient

from afterclick.connectors.mlflow_calls import answering, experiment_id
from afterclick.settings import Settings

EXPERIMENT = "afterclick-changes"


def record_change(
    client: MlflowClient,
    settings: Settings,
    action: str,
    *,
    left: str | None,
    served: str,
    reason: str = "",
    figures: Mapping[str, float] | None = None,
) -> None:
    """Add one change; `action` is ``promote`` or ``rollback``. The newest one is not repeated."""
    newest = list_changes(client, settings, most=1)
    if newest and (newest[0]["action"], newest[0]["served"]) == (action, served):
        return
    tags = {"model": settings.model.name, "action": action, "left": left or "", "served": served, "by": _who()}
    tags["reason"] = reason[:4_000]
    with answering():
        run = client.create_run(experiment_id(client, settings, EXPERIMENT), run_name=f"{action} {served}", tags=tags)
        for name, figure in (figures or {}).items():
            client.log_metric(run.info.run_id, name, figure)
        client.set_terminated(run.info.run_id)


def list_changes(client: MlflowClient, settings: Settings, *, most: int = 100) -> list[dict[str, Any]]:
    """Return the newest changes first."""
    with answering():
        ours = f"tags.model = '{settings.model.name}'"
        runs = client.search_runs([experiment_id(client, settings, EXPERIMENT)], ours, max_results=most)
    wanted = ("action", "left", "served", "reason", "by")
    return [
        {"at_ms": run.info.start_time, **{name: run.data.tags.get(name) for name in wanted}, **run.data.metrics}
        for run in runs
    ]


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
