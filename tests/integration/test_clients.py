"""Real client SDKs, unchanged, against a real collector and broker: everything they sent is on Kafka once.

The collector is restarted while each of them sends.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer

from afterclick.settings import Settings
from collector_process import KEY, HttpService
from needed_programs import needs

FOLDER = Path("tests/clients").resolve()
PYTHON = str(FOLDER / ".venv/bin/python")
COUNT = 30
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js with the client SDKs of both languages beside it."""
    path = needs("node", install="install Node.js 20 or newer with npm")
    subprocess.run(["scripts/test_clients.sh"], check=True)  # noqa: S607
    return path


@pytest.fixture
def collector(live: Settings, request: pytest.FixtureRequest) -> Iterator[HttpService]:
    """Start a collector; with the parameter ``tls`` it speaks TLS and serves Segment's browser client."""
    variables = {}
    if getattr(request, "param", None) == "tls":
        folder = request.getfixturevalue("certificate")
        variables = {
            "AFTERCLICK_COLLECTOR__TLS_CERTIFICATE": str(folder / "certificate.pem"),
            "AFTERCLICK_COLLECTOR__TLS_KEY": str(folder / "key.pem"),
            "AFTERCLICK_COLLECTOR__BROWSER_BUNDLE": str(FOLDER / "node_modules/@segment/analytics-next/dist/umd"),
        }
    running = HttpService(live, variables)
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
        )

    def read(self) -> list[dict[str, Any]]:
        for records in self._consumer.poll(timeout_ms=200).values():
            self.events.extend(json.loads(record.value) for record in records)
        return self.events

    def wait_for_views(self, count: int, seconds: float = 150) -> list[dict[str, Any]]:
        deadline = time.monotonic() + seconds
        while len(views(self.read())) < count and time.monotonic() < deadline:
            pass  # read waits itself
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
    client: str, node: str, collector: HttpService, live: Settings
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
    kind: str, node: str, collector: HttpService, live: Settings
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
    if kind == "segment":
        check_page_script(Topic(live))


def check_page_script(topic: Topic) -> None:
    """Check that our page script has told of the scroll to the middle, the sent form and the time the page was in view."""
    deadline = time.monotonic() + 30
    found: dict[str, list[dict[str, Any]]] = {}
    while len(found.keys() & {"engagement", "form"}) < 2 and time.monotonic() < deadline:
        found = {kind: [e for e in topic.read() if e["event_type"] == kind] for kind in ("engagement", "form")}
        found = {kind: events for kind, events in found.items() if events}
    engaged, forms = found["engagement"], found["form"]
    assert [form["form_id"] for form in forms] == ["newsletter"]
    assert sum(event["dwell_ms"] for event in engaged) >= COUNT * 100
    assert 50 < max(event["scroll_percent"] for event in engaged) < 100
    assert {event["page_path"] for event in (*engaged, *forms)} == {"/mug"}


def restart_and_read(collector: HttpService, live: Settings) -> list[dict[str, Any]]:
    topic = Topic(live)
    begun = len(views(topic.wait_for_views(3)))
    collector.stop()
    assert begun < COUNT, "the client was done before the restart"
    time.sleep(0.5)
    collector.start()
    topic.wait_for_views(COUNT)
    for _ in range(8):  # a second delivery would come now
        topic.read()
    return topic.events


def check_views(events: list[dict[str, Any]], told: str) -> None:
    found = views(events)
    assert sorted(found) == sorted(f"item-{number}" for number in range(COUNT)), told
    assert len({event["event_id"] for event in events}) == len(events)
    assert {event["event_name"].replace("_", " ").lower() for event in events if event["event_type"] == "view"} <= {
        "product viewed",
        "product view",
    }
