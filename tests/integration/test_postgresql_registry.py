"""The registry on PostgreSQL: what several machines share."""

from pydantic import SecretStr

from afterclick.connectors import model_registry
from afterclick.connectors.model_changes import list_changes, record_change
from afterclick.settings import Settings
from builders import make_model


def test_registry_works_on_postgresql(postgresql_url: str, settings: Settings) -> None:
    model = settings.model.model_copy(update={"tracking_uri": SecretStr(postgresql_url)})
    shared = settings.model_copy(update={"model": model})
    client = model_registry.open_registry(shared)

    for version in ("one", "two"):
        tags = {"logical_date": "2026-11-24"}
        model_registry.register_model(
            client, shared, make_model(version=version), parameters={"rank": 4}, metrics={"users": 3.0}, tags=tags
        )
    model_registry.set_alias(client, shared, "champion", "one")
    record_change(client, shared, "promote", left=None, served="one")

    assert [row["version"] for row in model_registry.list_versions(client, shared)] == ["one"]
    assert model_registry.champion_version(client, shared) == "one"
    assert [row["served"] for row in list_changes(client, shared)] == ["one"]
