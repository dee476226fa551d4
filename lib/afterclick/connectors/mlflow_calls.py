"""Calls to MLflow: its errors turned into ours, and what is made by whoever comes first."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from afterclick.errors import ModelNotFoundError, StoreUnavailableError
from afterclick.settings import Settings


def experiment_id(client: MlflowClient, settings: Settings, name: str) -> str:
    """Return an experiment's id; it is made when it is missing."""
    if client.get_experiment_by_name(name) is None:
        with unless_there():
            client.create_experiment(name, settings.model.artifact_root)
    return str(client.get_experiment_by_name(name).experiment_id)


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Keep this machine's other processes from making the tables of the same SQLite file: MLflow's migrations collide.

    A server has its database made once, before anybody asks it.
    """
    if not uri.startswith("sqlite:///"):
        yield
        return
    file = Path(uri.removeprefix("sqlite:///"))
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def unless_there() -> Iterator[None]:
    """Take it that another run has just made what we were about to make."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextmanager
def answering() -> Iterator[None]:
    """Turn MLflow's errors into ours."""
    try:
        yield
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise ModelNotFoundError(f"the registry has no such thing: {error.message}") from error
        message = f"MLflow does not answer as it should: {error.message}. What is served stays as it is."
        raise StoreUnavailableError(message) from error
