"""From an HTTP post to the API's answer, all parts running for real; and a crash in the middle."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pytest
from kafka import KafkaProducer

from afterclick.commands.history import segment_messages
from afterclick.connectors import delta_tables, model_registry, redis_store
from afterclick.connectors.subject_store import open_subject_store
from afterclick.local import demo, pipeline_replay, services
from afterclick.local.stack import local_settings, start_stack, stop_stack
from afterclick.pseudonyms import RawId
from afterclick.served_model import read_recommender
from afterclick.settings import Settings
from builders import make_model, subject

CONSENT = {"consent": {"categoryPreferences": {"analytics": True, "personalisation": True}}}
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Settings]:
    """Start the stack and the three services over a small model; stop everything afterwards."""
    start_stack(tmp_path)
    settings = local_settings(tmp_path)
    running: list[services.Service] = []
    try:
        client = model_registry.open_registry(settings)
        model = make_model(items=40, rank=8, version="first")
        registered = model_registry.register_model(client, settings, model, parameters={}, metrics={})
        model_registry.set_champion(client, settings, registered)
        store = redis_store.connect(settings.redis)
        store.write_popular(read_recommender(settings, "first").popular(1))
        store.switch_version("first")
        with services.stopping(running):
            demo.start_services(settings, running)
            yield settings
    finally:
        stop_stack(tmp_path)


def track(settings: Settings, user: str, item: Any, message_id: str) -> int:
    message = {
        "type": "track", "event": "Product Viewed", "userId": user, "messageId": message_id,
        "properties": {"product_id": item, "price": 1.5}, "context": CONSENT,
    }  # fmt: skip
    url = f"http://127.0.0.1:{settings.collector.port}/v1/batch"
    return httpx.post(
        url, json={"batch": [message]}, auth=(settings.collector.write_keys[0].get_secret_value(), "")
    ).status_code


def wait_for(what: Any, seconds: float = 180.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.1)
    pytest.fail(f"{what} did not come true within {seconds} s")


def test_an_event_changes_the_list_and_poison_changes_nothing(installation: Settings, spark: Any) -> None:
    settings = installation
    api = f"http://127.0.0.1:{settings.serving.port}"

    def answer(user: str) -> dict[str, Any]:
        return dict(httpx.get(f"{api}/v1/recommendations/{user}", params={"n": 5, "explain": "true"}).json())

    assert answer("ada")["source"] == "popular"
    _send_poison(settings)
    assert track(settings, "ada", "item-7", "e-1") == 200
    first = wait_for(lambda: (a := answer("ada"))["source"] == "fold_in" and a)
    assert {item["because"] for item in first["items"]} == {"item-7"}

    assert [track(settings, "ada", item, f"e-{n}") for n, item in enumerate(("item-9", None), 2)] == [200, 200]
    assert track(settings, "ada", "item-7", "e-1") == 200
    wait_for(lambda: {item["because"] for item in answer("ada")["items"]} == {"item-7", "item-9"} or None)
    _only_loopback()

    def places() -> dict[str, Any] | None:
        tables = {name: delta_tables.read_table(spark, settings, name) for name in ("events", "quarantine", "ledger")}
        sums = tables["ledger"].selectExpr("sum(consumed)", "sum(duplicates)").first()
        if sums is None or (sums[0] or 0) < 7:
            return None
        reasons = sorted(row.reasons[0] for row in tables["quarantine"].collect())
        events = sorted(
            (row.event_id, row.subject_id == subject_of(settings, "ada")) for row in tables["events"].collect()
        )
        return {"consumed": sums[0], "duplicates": sums[1], "reasons": reasons, "events": events}

    assert wait_for(places) == {
        "consumed": 7,
        "duplicates": 1,
        "reasons": ["empty_value", "item_id_missing", "malformed", "malformed"],
        "events": [("e-1", True), ("e-2", True)],
    }
    _read_before_each_event(settings)


def _read_before_each_event(settings: Settings) -> None:
    """Read as `afterclick evaluate pipeline` does: each list before its event, covering the one before."""
    at = datetime(2026, 11, 26, tzinfo=UTC)
    people, items = ["eve", "eve", "eve", "bob", "bob"], ["item-7", "item-1", "item-2", "item-0", "item-5"]
    columns = [people, items, ["view"] * 5, [at] * 5]
    log = pa.table(dict(zip(("subject_id", "item_id", "event_type", "event_at"), columns, strict=True)))
    messages = list(segment_messages(log, ("analytics", "personalisation")))
    pace = pipeline_replay.Pace(rate=0.5, seconds=4)

    lanes = [np.array([0, 1, 2]), np.array([3, 4])]
    reading, lag = pipeline_replay.read_while_sending(settings, messages, lanes, pace, warm_up=3)

    assert reading.is_measured.tolist() == [False, True, True, False, True]
    assert reading.is_personal.tolist() == [False, True, True, False, True]
    assert reading.known_ms[[0, 3]].tolist() == [0, 0]
    for number in (1, 2, 4):
        assert reading.event_ms[number - 1] <= reading.known_ms[number] < reading.event_ms[number]
    assert (reading.places[0], reading.places[3]) == (7.0, 0.0)  # the popular list names item-0, item-1, ... in order
    assert lag["missed"] == 0


def subject_of(settings: Settings, user: str) -> str:
    person = open_subject_store(settings).find(RawId("user", user))
    assert person is not None
    return person.subject_id


def _send_poison(settings: Settings) -> None:
    """Write what a producer that bypasses the collector may write."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    for key, value in ((None, b"\xff\xfe"), (None, b"[1]"), (subject("eve").encode(), None)):
        producer.send(settings.kafka.events_topic, key=key, value=value)
    producer.flush()
    producer.close()


def _only_loopback() -> None:
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # short-lived children end meanwhile
            listening = [c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
            assert set(listening) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, process.cmdline()[:3]


def test_demo_loses_and_doubles_nothing_when_the_streams_are_killed(tmp_path: Path) -> None:
    """Kill -9 in the middle, start again: every acknowledged event has exactly one fate."""
    command = [sys.executable, "-m", "afterclick.cli", "demo", "--events", "4000", "--kill-streams", "--json"]
    before = {process.pid for process in psutil.process_iter()}
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # noqa: TID251 - handed on

    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603

    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)
    fates = ("events_in_delta", "events_in_quarantine", "events_without_consent")
    assert figures["events_acked"] == sum(figures[fate] for fate in fates)
    assert figures["events_in_delta"] == figures["distinct_events_in_delta"]
    assert figures["duplicates"] == figures["deliveries_repeated"]
    assert figures["lists_changed"] > 0
    assert figures["sessions_closed"] > 0
    assert list(tmp_path.glob("afterclick-demo-*")) == []
    left = [
        p
        for p in psutil.process_iter(["cmdline"])
        if p.pid not in before and str(tmp_path) in " ".join(p.info["cmdline"] or [])
    ]
    assert left == []
