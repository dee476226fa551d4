"""MLflow for real (SQLite): register, alias, list, fetch again on another machine."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from afterclick.connectors import model_registry
from afterclick.connectors.mlflow_calls import unless_there
from afterclick.errors import ModelNotFoundError
from afterclick.served_model import model_folder, read_recommender
from afterclick.settings import Settings
from builders import make_model


def test_registry_keeps_versions_and_the_champion(settings: Settings) -> None:
    client = model_registry.open_registry(settings)
    with pytest.raises(ModelNotFoundError, match="no champion"):
        model_registry.champion_version(client, settings)

    for version in ("one", "two"):
        registered = model_registry.register_model(
            client, settings, make_model(version=version), parameters={"rank": 4}, metrics={"users": 3.0}
        )
        model_registry.set_champion(client, settings, registered)

    assert model_registry.champion_version(client, settings) == "two"
    listed = model_registry.list_versions(client, settings)
    assert [(row["version"], row["aliases"]) for row in listed] == [("two", ["champion"]), ("one", [])]
    assert client.get_run(listed[0]["run_id"]).data.metrics == {"users": 3.0}


def test_two_first_trainings_at_once_both_register(settings: Settings) -> None:
    together = threading.Barrier(2)

    def register(version: str) -> str:
        together.wait()
        client, model = model_registry.open_registry(settings), make_model(version=version)
        return str(model_registry.register_model(client, settings, model, parameters={}, metrics={}).version)

    with ThreadPoolExecutor(2) as pool:
        registered = set(pool.map(register, ("one", "two")))

    assert registered == {"1", "2"}


def test_what_another_run_has_made_meanwhile_is_taken_as_it_is(settings: Settings) -> None:
    client = model_registry.open_registry(settings)
    for _ in range(2):
        with unless_there():
            client.create_registered_model("shop")

    with pytest.raises(MlflowException, match="Missing value"), unless_there():
        client.create_registered_model("")


def test_read_recommender_fetches_what_is_not_here(settings: Settings) -> None:
    client = model_registry.open_registry(settings)
    model_registry.register_model(client, settings, make_model(version="far"), parameters={}, metrics={})
    shutil.rmtree(model_folder(settings, "far"))

    fetched = read_recommender(settings, "far").model

    np.testing.assert_array_equal(fetched.item_factors, make_model().item_factors)


def test_read_recommender_names_the_version_when_nobody_has_it(settings: Settings) -> None:
    with pytest.raises(ModelNotFoundError, match=r"neither in .* nor in the registry"):
        read_recommender(settings, "never-trained")
