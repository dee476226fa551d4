"""Who is in the state of sessions, read by a program that runs no stream, as an erasure does beside the streams."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from afterclick.connectors.checkpoints import newest_batch
from afterclick.local import services
from afterclick.settings import Settings
from builders import variables_of
from watched_stack import produce, wait_until

OFTEN = """
  spark.sql.streaming.stateStore.minDeltasForSnapshot: "1"
  spark.sql.streaming.stateStore.maintenanceInterval: 500ms
"""
"""Else a snapshot of the state takes ten batches and a minute."""
READ = """
import sys
from pathlib import Path
from afterclick.connectors.session_state import subjects_in_state
from afterclick.job_runner import job_context
with job_context("read_state", []) as (spark, _):
    print(len(subjects_in_state(spark, Path(sys.argv[1]))))
"""
pytestmark = pytest.mark.timeout(300)


def test_a_state_with_a_snapshot_is_read_by_a_program_without_a_stream(live: Settings, tmp_path: Path) -> None:
    shutil.copytree("conf", tmp_path / "conf")
    with (tmp_path / "conf" / "base.yaml").open("a", encoding="utf-8") as file:
        file.write(OFTEN)
    checkpoint = Path(live.storage.checkpoints) / "build_sessions"
    ours = {
        **variables_of(live),
        "AFTERCLICK_KAFKA__EVENTS_TOPIC": live.kafka.events_topic,
        "AFTERCLICK_STREAMS__BULK_TRIGGER_SECONDS": "1",
        "AFTERCLICK_CONF_DIR": str(tmp_path / "conf"),
    }
    arguments = ["-m", "jobs.run_streams", "--queries", "build_sessions"]
    service = services.start_service("sessions", arguments, live, variables=ours)
    with services.stopping([service]):
        services.wait_until_logged(service, ["query started name=build_sessions"], seconds=120)
        for _ in range(3):
            before = newest_batch(checkpoint)
            produce(live, 20, spoilt=False)
            wait_until(lambda seen=before: newest_batch(checkpoint) != seen, 60, lambda: "no batch")  # type: ignore[misc]
        wait_until(lambda: any(checkpoint.glob("state/0/*/*.zip")), 60, lambda: "no snapshot")
        time.sleep(1)

    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", READ, str(checkpoint)],
        env={**os.environ, **ours},  # noqa: TID251 - handed on
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 0
