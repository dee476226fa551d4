"""MLflow: where a model version came from, and which one is champion. The model itself is plain arrays."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from afterclick.errors import ModelNotFoundError
from afterclick.models import Model, save_model
from afterclick.served_model import model_folder
from afterclick.settings import Settings

logger = logging.getLogger(__name__)

EXPERIMENT = "afterclick"
CHAMPION = "champion"
VERSION_TAG = "afterclick_version"
_ARTIFACTS = "model"


def open_registry(settings: Settings) -> MlflowClient:
    """Connect to the tracking and registry store of the settings."""
    uri = settings.model.tracking_uri.get_secret_value()
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def register_model(
    client: MlflowClient,
    settings: Settings,
    model: Model,
    *,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> ModelVersion:
    """Store a model's files with its run and register it as a new version, without an alias.

    1. the local copy in ``storage.models``, 2. the run with its artifacts, 3. the registered version.
    """
    folder = model_folder(settings, model.version)
    save_model(model, folder)
    run = client.create_run(_experiment_id(client, settings), run_name=model.version)
    for name, value in parameters.items():
        client.log_param(run.info.run_id, name, value)
    for name, figure in metrics.items():
        client.log_metric(run.info.run_id, name, figure)
    client.log_artifacts(run.info.run_id, str(folder), _ARTIFACTS)
    client.set_terminated(run.info.run_id)
    if not client.search_registered_models(f"name = '{settings.model.name}'"):
        client.create_registered_model(settings.model.name)
    source = f"{run.info.artifact_uri}/{_ARTIFACTS}"
    registered = client.create_model_version(
        settings.model.name, source, run_id=run.info.run_id, tags={VERSION_TAG: model.version}
    )
    logger.info("model registered version=%s registry_version=%s", model.version, registered.version)
    return registered


def set_champion(client: MlflowClient, settings: Settings, registered: ModelVersion) -> None:
    """Point the alias ``champion`` at a version."""
    client.set_registered_model_alias(settings.model.name, CHAMPION, registered.version)


def champion_version(client: MlflowClient, settings: Settings) -> str:
    """Return our version string of the champion.

    Raises
    ------
    ModelNotFoundError
        If no version has the alias.
    """
    try:
        return str(client.get_model_version_by_alias(settings.model.name, CHAMPION).tags[VERSION_TAG])
    except MlflowException as error:
        message = f"model {settings.model.name} has no champion: run the job train_model first ({error.message})"
        raise ModelNotFoundError(message) from error


def champion_created_ms(client: MlflowClient, settings: Settings) -> int:
    """Return when the champion was registered, in milliseconds since the epoch.

    Raises
    ------
    ModelNotFoundError
        If no version has the alias.
    """
    try:
        return int(client.get_model_version_by_alias(settings.model.name, CHAMPION).creation_timestamp)
    except MlflowException as error:
        message = f"model {settings.model.name} has no champion: run the job train_model first ({error.message})"
        raise ModelNotFoundError(message) from error


def list_versions(client: MlflowClient, settings: Settings) -> list[dict[str, Any]]:
    """Return all registered versions, newest first."""
    found = client.search_model_versions(f"name = '{settings.model.name}'")
    aliases: dict[str, list[str]] = {}
    for model in client.search_registered_models(f"name = '{settings.model.name}'"):
        for alias, version in model.aliases.items():
            aliases.setdefault(str(version), []).append(alias)
    return [
        {
            "registry_version": int(one.version),
            "version": one.tags.get(VERSION_TAG),
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
    for one in client.search_model_versions(f"name = '{settings.model.name}'"):
        if one.tags.get(VERSION_TAG) == version:
            fresh = folder.with_name(f".{folder.name}.fetching")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            client.download_artifacts(one.run_id, _ARTIFACTS, str(fresh))
            (fresh / _ARTIFACTS).rename(folder)
            shutil.rmtree(fresh, ignore_errors=True)
            return
    raise ModelNotFoundError(
        f"model version {version} is neither in {folder} nor in the registry as {settings.model.name}"
    )


def _experiment_id(client: MlflowClient, settings: Settings) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id if found else client.create_experiment(EXPERIMENT, settings.model.artifact_root))
