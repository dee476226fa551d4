"""MLflow: where a model version came from, what its gates said, and which one is champion.

The model itself is plain arrays; the pyfunc beside them is for MLflow's own tools. Every method that talks to the
registry raises `StoreUnavailableError` when it does not answer.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from afterclick.connectors.mlflow_calls import answering, experiment_id, one_at_a_time, unless_there
from afterclick.errors import ModelNotFoundError
from afterclick.models import Model, save_model
from afterclick.pyfunc import save_pyfunc
from afterclick.served_model import model_folder
from afterclick.settings import Settings

logger = logging.getLogger(__name__)

EXPERIMENT = "afterclick"
CHAMPION, CHALLENGER = "champion", "challenger"
VERSION_TAG, DATE_TAG, STATUS_TAG, REASON_TAG = "afterclick_version", "logical_date", "status", "refused_because"
ARTIFACTS, PYFUNC = "model", "pyfunc"


def open_registry(settings: Settings) -> MlflowClient:
    """Connect to the tracking and registry store of the settings."""
    uri = settings.model.tracking_uri.get_secret_value()
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # noqa: TID251 - seven with back-off take minutes
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # noqa: TID251 - progress is ours to show
    with answering(), one_at_a_time(uri):
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def register_model(
    client: MlflowClient,
    settings: Settings,
    model: Model,
    *,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str] | None = None,
) -> ModelVersion:
    """Store a model's files with its run and register it as a new version, without an alias.

    1. the local copy in ``storage.models``, 2. the run with arrays and pyfunc, 3. the registered version.
    With a ``logical_date`` among `tags` the first version of that date wins: a later one is withdrawn again.
    """
    folder = model_folder(settings, model.version)
    save_model(model, folder, settings.faults.crash_point)
    tags = {VERSION_TAG: model.version, STATUS_TAG: "candidate", **(tags or {})}
    with answering():
        run = client.create_run(experiment_id(client, settings, EXPERIMENT), run_name=model.version, tags=tags)
        for name, value in parameters.items():
            client.log_param(run.info.run_id, name, value)
        log_figures(client, run.info.run_id, metrics)
        client.log_artifacts(run.info.run_id, str(folder), ARTIFACTS)
        with tempfile.TemporaryDirectory() as scratch:
            save_pyfunc(folder, Path(scratch) / PYFUNC)
            client.log_artifacts(run.info.run_id, str(Path(scratch) / PYFUNC), PYFUNC)
        client.set_terminated(run.info.run_id)
        if not client.search_registered_models(f"name = '{settings.model.name}'"):
            with unless_there():
                client.create_registered_model(settings.model.name)
        source = f"{run.info.artifact_uri}/{ARTIFACTS}"
        registered = client.create_model_version(settings.model.name, source, run_id=run.info.run_id, tags=tags)
    logger.info("model registered version=%s registry_version=%s", model.version, registered.version)
    return _first_of_its_date(client, settings, registered)


def _first_of_its_date(client: MlflowClient, settings: Settings, registered: ModelVersion) -> ModelVersion:
    """Withdraw our version if another run registered one for the same date a moment earlier."""
    date = registered.tags.get(DATE_TAG)
    first = find_by_date(client, settings, date) if date else None
    if first is None or first.version == registered.version:
        return registered
    with answering():
        client.delete_model_version(settings.model.name, registered.version)
    logger.warning("version withdrawn registry_version=%s: %s has one already", registered.version, date)
    return first


def log_figures(client: MlflowClient, run_id: str, figures: Mapping[str, float]) -> None:
    """Add metrics to a run."""
    with answering():
        for name, figure in figures.items():
            client.log_metric(run_id, name, figure)


def find_by_date(client: MlflowClient, settings: Settings, date: str) -> ModelVersion | None:
    """Return the version registered first for a logical date; None when there is none."""
    found = [one for one in _all_versions(client, settings) if one.tags.get(DATE_TAG) == date]
    return min(found, key=lambda one: int(one.version), default=None)


def find_version(client: MlflowClient, settings: Settings, version: str) -> ModelVersion:
    """Return the registered version with our version string.

    Raises
    ------
    ModelNotFoundError
        If the registry does not know it.
    """
    for one in _all_versions(client, settings):
        if one.tags.get(VERSION_TAG) == version:
            return one
    message = f"model version {version} is not registered as {settings.model.name}: `afterclick model list` shows all"
    raise ModelNotFoundError(message)


def choose_version(
    client: MlflowClient, settings: Settings, *, version: str | None = None, date: str | None = None
) -> str:
    """Return the version asked for by name or by logical date, else the champion.

    Raises
    ------
    ModelNotFoundError
        If there is no such version.
    """
    if version:
        return str(find_version(client, settings, version).tags[VERSION_TAG])
    if date is None:
        return champion_version(client, settings)
    found = find_by_date(client, settings, date)
    if found is None:
        raise ModelNotFoundError(
            f"no model was registered for {date}: run `./spark-submit.sh train_model --date {date}`"
        )
    return str(found.tags[VERSION_TAG])


def set_alias(client: MlflowClient, settings: Settings, alias: str, version: str) -> None:
    """Point an alias at one of our versions."""
    registered = find_version(client, settings, version)
    with answering():
        client.set_registered_model_alias(settings.model.name, alias, registered.version)


def set_champion(client: MlflowClient, settings: Settings, registered: ModelVersion) -> None:
    """Point the alias ``champion`` at a version, whatever its gates say: for a first model."""
    set_alias(client, settings, CHAMPION, registered.tags[VERSION_TAG])


def champion_version(client: MlflowClient, settings: Settings) -> str:
    """Return our version string of the champion.

    Raises
    ------
    ModelNotFoundError
        If no version has the alias.
    """
    version = alias_version(client, settings, CHAMPION)
    if version is None:
        raise ModelNotFoundError(
            f"model {settings.model.name} has no champion: run train_model and promote_model first"
        )
    return version


def alias_version(client: MlflowClient, settings: Settings, alias: str) -> str | None:
    """Return our version string of an alias; None when nothing has it."""
    try:
        with answering():
            return str(client.get_model_version_by_alias(settings.model.name, alias).tags[VERSION_TAG])
    except ModelNotFoundError:
        return None


def set_tags(client: MlflowClient, settings: Settings, version: str, tags: Mapping[str, str]) -> None:
    """Add tags to a version."""
    registered = find_version(client, settings, version)
    with answering():
        for name, value in tags.items():
            client.set_model_version_tag(settings.model.name, registered.version, name, value[:4_000])


def list_versions(client: MlflowClient, settings: Settings) -> list[dict[str, Any]]:
    """Return all registered versions, newest first."""
    found = _all_versions(client, settings)
    aliases: dict[str, list[str]] = {}
    with answering():
        for model in client.search_registered_models(f"name = '{settings.model.name}'"):
            for alias, version in model.aliases.items():
                aliases.setdefault(str(version), []).append(alias)
    return [
        {
            "registry_version": int(one.version),
            "version": one.tags.get(VERSION_TAG),
            "date": one.tags.get(DATE_TAG),
            "status": one.tags.get(STATUS_TAG),
            "refused_because": one.tags.get(REASON_TAG),
            "aliases": sorted(aliases.get(str(one.version), [])),
            "run_id": one.run_id,
        }
        for one in sorted(found, key=lambda one: -int(one.version))
    ]


def download_model(settings: Settings, version: str) -> None:
    """Fetch a version's files from the registry into the local copy's place.

    Raises
    ------
    ModelNotFoundError
        If the registry does not know the version.
    """
    folder = model_folder(settings, version)
    client = open_registry(settings)
    try:
        registered = find_version(client, settings, version)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f"model version {version} is neither in {folder} nor in the registry") from error
    fresh = folder.with_name(f".{folder.name}.fetching")
    shutil.rmtree(fresh, ignore_errors=True)
    (fetch_artifacts(client, registered, fresh, ARTIFACTS)).rename(folder)
    shutil.rmtree(fresh, ignore_errors=True)


def fetch_artifacts(client: MlflowClient, registered: ModelVersion, into: Path, which: str) -> Path:
    """Fetch a version's arrays or pyfunc into a new folder, whatever the local copy says; return where they are."""
    into.mkdir(parents=True, exist_ok=True)
    with answering():
        client.download_artifacts(registered.run_id, which, str(into))
    return into / which


def _all_versions(client: MlflowClient, settings: Settings) -> Sequence[ModelVersion]:
    with answering():
        return list(client.search_model_versions(f"name = '{settings.model.name}'"))
