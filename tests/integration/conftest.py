"""Real servers, once for the whole run; each test has its own topic, prefix and state folder."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterclick.local.kafka import create_topic
from afterclick.local.stack import start_stack, stop_stack
from afterclick.settings import Settings, load_settings
from conftest import installation_variables


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Kafka and Valkey on free loopback ports."""
    folder = tmp_path_factory.mktemp("stack")
    endpoints = start_stack(folder)
    yield {"kafka": endpoints["kafka"]["bootstrap_servers"], "redis": endpoints["redis"]["url"]}
    stop_stack(folder)


@pytest.fixture
def live(stack: dict[str, str], tmp_path: Path) -> Settings:
    """Return settings pointing at the real servers, with a fresh topic and a fresh key prefix."""
    name = uuid.uuid4().hex[:8]
    create_topic(stack["kafka"], f"events-{name}", 2)
    more = {
        "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": stack["kafka"],
        "AFTERCLICK_KAFKA__EVENTS_TOPIC": f"events-{name}",
        "AFTERCLICK_REDIS__URL": stack["redis"],
        "AFTERCLICK_REDIS__PREFIX": f"{name}:",
        "AFTERCLICK_STREAMS__BULK_TRIGGER_SECONDS": "1",
    }
    return load_settings("local", variables=installation_variables(tmp_path / "state", **more))
