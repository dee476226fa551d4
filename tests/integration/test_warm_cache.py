"""Killed half-way: while a model's files are written, and while a cache is warmed; running again ends in one version."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import model_registry, redis_store
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.version_pointer import VersionPointer, Versions
from afterclick.connectors.withdrawn_items import WithdrawnItems, withdrawn_key
from afterclick.errors import IncompatibleModelError
from afterclick.list_updates import update_here
from afterclick.models import load_model, save_model
from afterclick.served_model import model_folder, read_recommender
from afterclick.settings import Settings
from builders import make_model, variables_of
from jobs.import_history import import_log
from jobs.warm_cache import warm

DIE_AT_SECOND_ARRAY = """
import os, signal, sys
import numpy as np
sys.path[:0] = ["lib", "tests"]
from pathlib import Path
from afterclick.models import save_model
from builders import make_model
written = []
save = np.save
def save_and_die(path, *args, **kwargs):
    if written:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(path)
    save(path, *args, **kwargs)
np.save = save_and_die
save_model(make_model(version="v1"), Path(sys.argv[1]))
"""


def test_killed_between_two_arrays_a_model_is_refused_and_writing_it_again_mends_it(settings: Settings) -> None:
    """CP15: half-way through writing factors."""
    folder = model_folder(settings, "v1")

    done = subprocess.run([sys.executable, "-c", DIE_AT_SECOND_ARRAY, str(folder)], check=False)  # noqa: S603

    assert done.returncode == -signal.SIGKILL
    with pytest.raises(IncompatibleModelError, match=r"no readable manifest\.json"):
        load_model(folder)
    save_model(make_model(version="v1"), folder)
    assert load_model(folder).version == "v1"


def history(people: int) -> pa.Table:
    begun = datetime(2026, 11, 1, tzinfo=UTC)
    columns: dict[str, Any] = {
        "subject_id": [f"person-{number}" for number in range(people)],
        "item_id": [f"item-{number % 30}" for number in range(people)],
        "event_type": ["view"] * people,
    }
    times = [begun + timedelta(seconds=number) for number in range(people)]
    return pa.table({**columns, "event_at": pa.array(times, pa.timestamp("us", "UTC"))})


def test_killed_while_warming_the_old_version_answers_and_the_next_run_goes_on(
    spark: SparkSession, live: Settings
) -> None:
    import_log(spark, live, history(3000), digest="warm", purposes=["analytics", "personalisation"])
    client = model_registry.open_registry(live)
    for version in ("old", "new"):
        model = make_model(items=30, version=version)
        model_registry.register_model(client, live, model, parameters={}, metrics={})
    store = redis_store.connect(live.redis)
    pointer = VersionPointer(store)
    store.write_popular(read_recommender(live, "old").popular(1))
    store.switch_version("old")

    killed_after = _warm_and_kill(live, pointer)
    act = {
        "subject_id": ["person-x"],
        "item_id": ["item-1"],
        "event_type": ["view"],
        "event_ms": [1],
        "received_ms": [1],
    }
    update_here(pa.table(act), settings=live, fence=Fence(1, 1))
    assert pointer.versions() == Versions("old", "new", None)
    WithdrawnItems(live).withdraw(["item-2"])
    store.client.delete(withdrawn_key(live.redis.prefix))  # as a wipe does
    people = warm(spark, live, "new")

    assert 0 < len(killed_after) < live.recommendations.warm_parts
    assert people < 3000
    assert pointer.versions() == Versions("new", None, "old")
    assert store.client.smembers(withdrawn_key(live.redis.prefix)) == {b"item-2"}
    assert sum(1 for _ in store.client.scan_iter(f"{live.redis.prefix}r:new:*", count=1000)) == 3001


def _warm_and_kill(live: Settings, pointer: VersionPointer) -> set[int]:
    """Start the job as its own process group and end it by SIGKILL once a part is done."""
    variables = {
        **variables_of(live),
        "AFTERCLICK_SPARK__SPARK.MASTER": "local[1]",
    }
    command = [sys.executable, "-m", "jobs.warm_cache", "--version", "new", "--no-switch"]
    log = (Path(live.state_dir) / "warm.log").open("wb")
    environment = {**os.environ, **variables}  # noqa: TID251 - handed on
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, process_group=0)  # noqa: S603
    deadline = time.monotonic() + 200
    while not pointer.warmed_parts("new") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    log.close()
    return pointer.warmed_parts("new")
