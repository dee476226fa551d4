"""Real client SDKs, unchanged, against a real collector and broker: everything they sent is on Kafka once.

The collector is restarted while each of them sends.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from kafka import KafkaConsumer

from afterclick.local import services
from afterclick.local.processes import free_port, is_listening
from afterclick.settings import Settings

FOLDER = Path("tests/clients").resolve()
PYTHON = str(FOLDER / ".venv/bin/python")
KEY = "test-write-key"
COUNT = 30
pytestmark = pytest.mark.timeout(240)


def needs(program: str, *, install: str) -> str:
    """Return a program's path; without it a test is skipped, in CI it fails."""
    found = shutil.which(program)
    if found is None:
        reason = f"{program} is not on this machine; {install}"
        if os.environ.get("CI") == "true":  # noqa: TID251
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js with the client SDKs of both languages beside it."""
    path = needs("node", install="install Node.js 20 or newer with npm")
    subprocess.run(["scripts/test_clients.sh"], check=True)  # noqa: S607
    return path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a certificate and key for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return folder


class Collector:
    """A collector process that can be restarted on its port."""

    def __init__(self, live: Settings, variables: dict[str, str]) -> None:
        self.port = free_port()
        self._live = live
        scheme = "https" if "AFTERCLICK_COLLECTOR__TLS_KEY" in variables else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._variables = {
            "AFTERCLICK_COLLECTOR__PORT": str(self.port),
            "AFTERCLICK_COLLECTOR__WRITE_KEYS": f"[{KEY}]",
            "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": live.kafka.bootstrap_servers,
            "AFTERCLICK_KAFKA__EVENTS_TOPIC": live.kafka.events_topic,
            "AFTERCLICK_REDIS__URL": live.redis.url.get_secret_value(),
            "AFTERCLICK_PRIVACY__PSEUDONYM_KEY": live.privacy.pseudonym_key.get_secret_value(),
            **variables,
        }
        self.start()

    def start(self) -> None:
        self._service = services.start_service(
            "collector", ["-m", "afterclick.cli", "collector"], self._live, variables=self._variables
        )
        deadline = time.monotonic() + 60
        while not is_listening(self.port):
            self._service.check()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        services.stop_service(self._service)


@pytest.fixture
def collector(live: Settings, request: pytest.FixtureRequest) -> Iterator[Collector]:
    """Start a collector; with the parameter ``tls`` it speaks TLS and serves Segment's browser client."""
    variables = {}
    if getattr(request, "param", None) == "tls":
        folder = request.getfixturevalue("certificate")
        variables = {
            "AFTERCLICK_COLLECTOR__TLS_CERTIFICATE": str(folder / "certificate.pem"),
            "AFTERCLICK_COLLECTOR__TLS_KEY": str(folder / "key.pem"),
            "AFTERCLICK_COLLECTOR__BROWSER_BUNDLE": str(FOLDER / "node_modules/@segment/analytics-next/dist/umd"),
        }
    running = Collector(live, variables)
    yield running
    running.stop()


class Topic:
    """Reads the events topic from its beginning on."""

    def __init__(self, live: Settings) -> None:
        self.events: list[dict[str, Any]] = []
        self._consumer = KafkaConsumer(
            live.kafka.events_topic,
            bootstrap_servers=live.kafka.bootstrap_servers,
            auto_offset_reset="earliest",
            consumer_timeout_ms=300,
        )

    def read(self) -> list[dict[str, Any]]:
        self.events.extend(json.loads(record.value) for record in self._consumer)
        return self.events

    def wait_for_views(self, count: int, seconds: float = 90) -> list[dict[str, Any]]:
        deadline = time.monotonic() + seconds
        while len(views(self.read())) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.events


def views(events: list[dict[str, Any]]) -> list[str]:
    return [event["items"][0]["item_id"] for event in events if event.get("event_type") == "view"]


CLIENTS = {
    "segment-analytics-python": [PYTHON, "segment_python.py"],
    "@segment/analytics-node": ["node", "segment_node.mjs"],
    "rudder-sdk-python": [PYTHON, "rudder_python.py"],
    "@rudderstack/rudder-sdk-node": ["node", "rudder_node.mjs"],
    "snowplow-tracker": [PYTHON, "snowplow_python.py"],
    "cloudevents-structured": [PYTHON, "cloudevents_python.py", "structured"],
    "cloudevents-binary": [PYTHON, "cloudevents_python.py", "binary"],
}


@pytest.mark.parametrize("client", CLIENTS)
def test_client_that_sees_a_restart_delivers_everything_once(
    client: str, node: str, collector: Collector, live: Settings
) -> None:
    program, script, *more = CLIENTS[client]
    command = [program.replace("node", node), script, collector.url, KEY, str(COUNT), *more]
    sending = subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603

    events = restart_and_read(collector, live)

    told = sending.communicate(timeout=120)[0].decode()
    assert sending.returncode == 0, told
    check_views(events, told)
    assert {event["consent"][0] for event in events} == {"analytics"}


BROWSER_CLIENTS = [("tls", "segment"), ("plain", "rudder")]


@pytest.mark.parametrize(
    ("collector", "kind"), BROWSER_CLIENTS, indirect=["collector"], ids=["segment-next", "rudder-js"]
)
def test_browser_client_that_sees_a_restart_delivers_everything_once(
    kind: str, node: str, collector: Collector, live: Settings
) -> None:
    chromium = needs("chromium", install="apt-get install chromium")
    command = [node, "browser.mjs", collector.url, KEY, str(COUNT), kind]
    browser = subprocess.Popen(  # noqa: S603
        command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "CHROMIUM": chromium},  # noqa: TID251
    )  # fmt: skip

    events = restart_and_read(collector, live)

    told = browser.communicate(timeout=60)[0].decode()
    check_views(events, told)
    assert {event["device"] for event in events if event["event_type"] == "view"} == {"desktop"}
    assert {event["page_path"] for event in events if event["event_type"] == "view"} == {"/mug"}
    assert all(event["ip_prefix"] == "127.0.0.0/24" for event in events if event["event_type"] == "view")


def restart_and_read(collector: Collector, live: Settings) -> list[dict[str, Any]]:
    topic = Topic(live)
    begun = len(views(topic.wait_for_views(3)))
    collector.stop()
    assert begun < COUNT, "the client was done before the restart"
    time.sleep(0.5)
    collector.start()
    topic.wait_for_views(COUNT)
    time.sleep(1.0)  # a second delivery would come now
    return topic.read()


def check_views(events: list[dict[str, Any]], told: str) -> None:
    found = views(events)
    assert sorted(found) == sorted(f"item-{number}" for number in range(COUNT)), told
    assert len({event["event_id"] for event in events}) == len(events)
    assert {event["event_name"].replace("_", " ").lower() for event in events if event["event_type"] == "view"} <= {
        "product viewed",
        "product view",
    }
