"""A night that is killed by SIGKILL at every step of a new model: run again, it ends in one version, and no client notices."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import model_registry, redis_store
from afterclick.connectors.model_changes import list_changes
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.subject_store import open_subject_store
from afterclick.connectors.version_pointer import VersionPointer, Versions
from afterclick.errors import IncompatibleModelError
from afterclick.list_updates import update_here
from afterclick.local import services
from afterclick.local.processes import free_port
from afterclick.models import load_model
from afterclick.promotion import verify
from afterclick.pseudonyms import RawId
from afterclick.served_model import read_recommender
from afterclick.settings import Settings
from builders import make_model, places, variables_of
from jobs.import_history import import_log
from jobs.warm_cache import warm
from nightly import NIGHTLY

logger = logging.getLogger(__name__)
pytestmark = [
    NIGHTLY,
    pytest.mark.timeout(1800),
]
DATE = "2026-11-24"
BOTH = [f"item-{number}" for number in range(20)]
ONLY_NEW = [f"new-{number}" for number in range(20)]
ONLY_OLD = [f"old-{number}" for number in range(20)]
PEOPLE, ASKING = 1_500, 40


@dataclass
class Client:
    """Asks the API on one connection, once the switch is near as fast as it answers.

    An answer is noted with its time, its version, and whether it is of that version alone.
    """

    port: int
    names: list[str]
    near: threading.Event
    answers: list[tuple[float, str, bool]] = field(default_factory=list)

    def poll(self, stopping: threading.Event) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not stopping.is_set():
            person = self.names[len(self.answers) % len(self.names)] if len(self.answers) % 3 else "stranger"
            connection.request("GET", f"/v1/recommendations/{person}?n=40")
            got = connection.getresponse()
            answer = json.loads(got.read())
            foreign = ONLY_NEW if answer["model_version"] == "old" else ONLY_OLD
            items = {item["item_id"] for item in answer["items"]}
            is_whole = got.status == 200 and bool(items) and not items & set(foreign)
            self.answers.append((time.monotonic(), answer["model_version"], is_whole))
            time.sleep(0 if self.near.is_set() else 0.1)
        connection.close()


def test_a_night_killed_at_every_step_ends_in_one_version_and_no_client_notices(
    spark: SparkSession, live: Settings
) -> None:
    """CP15 half-way through the factors, CP16 while warming, CP14 between alias and pointer; each is run again."""
    everybody = [f"person-{number}" for number in range(PEOPLE)]
    import_log(spark, live, history(everybody), digest="night", purposes=["analytics", "personalisation"])
    names = everybody[:ASKING]
    acting = open_subject_store(live).find(RawId("user", names[0]))
    assert acting
    client = model_registry.open_registry(live)
    serve_old(spark, live)
    store = redis_store.connect(live.redis)
    pointer = VersionPointer(store)

    near = threading.Event()

    with api(live) as port, polling(port, names, near) as clients:
        assert run(live, "CP15", "jobs.train_model", "--date", DATE) == -signal.SIGKILL
        half = next(folder for folder in Path(live.storage.models).iterdir() if folder.name != "old")
        with pytest.raises(IncompatibleModelError, match=r"no readable manifest\.json"):
            load_model(half)
        assert model_registry.find_by_date(client, live, DATE) is None
        assert run(live, "", "jobs.train_model", "--date", DATE) == 0
        version = model_registry.choose_version(client, live, date=DATE)
        model_registry.set_tags(client, live, version, {"status": "passed"})

        assert run(live, "CP16", "jobs.warm_cache", "--no-switch", "--date", DATE) == -signal.SIGKILL
        killed_after = pointer.warmed_parts(version)
        act(live, acting.subject_id)
        assert pointer.versions() == Versions("old", version, None)
        assert run(live, "", "jobs.warm_cache", "--no-switch", "--date", DATE) == 0

        near.set()
        switching_at = time.monotonic()
        assert run(live, "CP14", "afterclick.cli", "model", "switch", "--date", DATE) == -signal.SIGKILL
        assert model_registry.champion_version(client, live) == version
        assert pointer.versions() == Versions("old", version, None)
        assert run(live, "", "afterclick.cli", "model", "switch", "--date", DATE) == 0
        time.sleep(1)
        switched_at = time.monotonic()

    verify(client, live, version)
    assert 0 < len(killed_after) < live.recommendations.warm_parts
    assert pointer.versions() == Versions(version, None, "old")
    assert [row["served"] for row in list_changes(client, live)] == [version]
    assert len(model_registry.list_versions(client, live)) == 2
    assert len(set(store.client.scan_iter(f"{live.redis.prefix}r:{version}:*", count=1000))) == PEOPLE
    top = store.read_list(acting.subject_id)[1]
    assert top
    assert places(top) == places(read_recommender(live, version).lists(store.read_histories([acting.subject_id]), 0)[0])
    during = [at for one in clients for at, _, _ in one.answers if switching_at <= at <= switched_at]
    rate = len(during) / (switched_at - switching_at)
    logger.info("answers=%d across_the_switch_per_second=%.0f", sum(len(one.answers) for one in clients), rate)
    assert [answer for one in clients for answer in one.answers if not answer[2]] == []
    for one in clients:
        versions = [served for _, served, _ in one.answers]
        assert (versions[0], versions[-1]) == ("old", version)
        assert sum(before != after for before, after in pairwise(versions)) == 1
    assert rate >= 100


def history(people: list[str]) -> pa.Table:
    """Everybody buys four things of one half of what the old and the new model know."""
    draw = np.random.default_rng(1)
    begun = datetime(2026, 11, 1, tzinfo=UTC)
    known = BOTH + ONLY_NEW
    kind = np.repeat(np.arange(len(people)) % 2, 4)
    columns: dict[str, Any] = {
        "subject_id": np.repeat(people, 4).tolist(),
        "item_id": [known[2 * i + k] for k, i in zip(kind, draw.integers(20, size=len(kind)), strict=True)],
        "event_type": ["purchase"] * len(kind),
    }
    times = [begun + timedelta(hours=int(hour)) for hour in np.tile(np.arange(4), len(people))]
    return pa.table({**columns, "event_at": pa.array(times, pa.timestamp("us", "UTC"))})


def serve_old(spark: SparkSession, live: Settings) -> None:
    """Register and serve a model that knows other items than the one that this night trains."""
    ids = np.array(BOTH + ONLY_OLD)
    model = make_model(items=40, version="old", item_ids=ids, popularity=np.arange(1.0, 41.0))
    client = model_registry.open_registry(live)
    model_registry.set_champion(
        client, live, model_registry.register_model(client, live, model, parameters={}, metrics={})
    )
    warm(spark, live, "old")


def act(live: Settings, subject: str) -> None:
    """Let the stream write one more interaction."""
    columns = {"subject_id": [subject], "item_id": ["item-7"], "event_type": ["view"]}
    update_here(pa.table({**columns, "event_ms": [1], "received_ms": [1]}), settings=live, fence=Fence(1, 1))


def variables(live: Settings, crash_point: str) -> dict[str, str]:
    ours = {
        **variables_of(live),
        "AFTERCLICK_SPARK__SPARK.MASTER": "local[1]",
        "AFTERCLICK_MODEL__RANK": "8",
    }
    return ours | ({"AFTERCLICK_FAULTS__CRASH_POINT": crash_point} if crash_point else {})


def run(live: Settings, crash_point: str, module: str, *arguments: str) -> int:
    """Run a job or command as a process group of its own, as a scheduler would; return its exit code."""
    command = [sys.executable, "-m", module, *arguments]
    with (Path(live.state_dir) / "night.log").open("ab") as log:
        environment = {**os.environ, **variables(live, crash_point)}  # noqa: TID251 - handed on
        return subprocess.run(  # noqa: S603
            command, env=environment, stdout=log, stderr=log, process_group=0, timeout=600, check=False
        ).returncode


@contextmanager
def api(live: Settings) -> Iterator[int]:
    """Run the API as a process of its own."""
    port = free_port()
    more = variables(live, "") | {"AFTERCLICK_SERVING__PORT": str(port)}
    service = services.start_service("api", ["-m", "afterclick.cli", "serve"], live, variables=more)
    with services.stopping([service]):
        services.wait_until_ready(service, f"http://127.0.0.1:{port}/health/ready")
        yield port


@contextmanager
def polling(port: int, names: list[str], near: threading.Event) -> Iterator[list[Client]]:
    """Let two clients ask until the block ends."""
    stopping = threading.Event()
    clients = [Client(port, names, near) for _ in range(2)]
    threads = [threading.Thread(target=client.poll, args=(stopping,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
