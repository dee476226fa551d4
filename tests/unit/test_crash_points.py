"""Crash points: each kills its process by SIGKILL where it says, and none does anything unless it is chosen."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from afterclick.crash_points import (
    CrashPoint,
    crash_after_commit,
    crash_after_table,
    crash_around,
    crash_at,
    crash_half_written,
    crash_when,
    crash_while_writing,
)

SETUP = (
    "import sys, time; from pathlib import Path; from afterclick.crash_points import *\n"
    "say = lambda text: print(text, flush=True)\n"
)
WHERE = {
    "before the function": ("crash_around(lambda *_: say('wrote'), CrashPoint.OFFSETS_WRITTEN)(None, 0)", ""),
    "after the function": ("crash_around(lambda *_: say('wrote'), CrashPoint.FUNCTION_RETURNED)(None, 0)", "wrote\n"),
    "after its table": (
        "crash_after_table('quarantine', CrashPoint.AFTER_EVENTS); say('wrote');"
        "crash_after_table('events', CrashPoint.AFTER_EVENTS)",
        "wrote\n",
    ),
    "at its name": ("say('wrote'); crash_at(CrashPoint.REDIS_DONE, CrashPoint.REDIS_DONE)", "wrote\n"),
    "while a file appears": (
        "with crash_while_writing(CrashPoint.INSIDE_WRITE, sys.argv[1], CrashPoint.INSIDE_WRITE):\n"
        " time.sleep(0.1); say('wrote'); Path(sys.argv[1], 'new.parquet').touch(); time.sleep(20)",
        "wrote\n",
    ),
    "with half a file written": (
        "whole = Path(sys.argv[1], 'array'); whole.write_bytes(bytes(100)); say('wrote');"
        "crash_half_written(CrashPoint.HALF_FACTORS, whole, CrashPoint.HALF_FACTORS)",
        "wrote\n",
    ),
    "when something is so": (
        "with crash_when(CrashPoint.HALF_WARMED, lambda: Path(sys.argv[1], 'part').exists(), CrashPoint.HALF_WARMED):\n"
        " time.sleep(0.1); say('wrote'); Path(sys.argv[1], 'part').touch(); time.sleep(20)",
        "wrote\n",
    ),
    "after a commit": (
        "crash_after_commit('build_sessions', sys.argv[1], CrashPoint.COMMIT_WRITTEN);"
        "commits = Path(sys.argv[1], 'commits'); commits.mkdir(); say('wrote'); (commits / '7').touch(); time.sleep(20)",
        "wrote\n",
    ),
}


@pytest.mark.parametrize("where", WHERE)
def test_crash_point_kills_its_process(where: str, tmp_path: Path) -> None:
    code, told = WHERE[where]

    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", SETUP + code + "\nsay('survived')", str(tmp_path)],
        capture_output=True, text=True, check=False, process_group=0, timeout=30,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, told)
    assert [path.stat().st_size for path in tmp_path.glob("array")] == ([50] if "half" in where else [])


def test_crash_points_do_nothing_unless_chosen(tmp_path: Path) -> None:
    """Every place with no point, and with every other point: this process goes on."""
    written: list[int] = []

    def write_batch(_: object, batch_id: int) -> None:
        written.append(batch_id)

    for point in CrashPoint:
        crash_at(point, None)
    crash_after_table("events", None)
    crash_after_table("items", CrashPoint.AFTER_EVENTS)
    crash_after_commit("ingest_events", str(tmp_path), CrashPoint.COMMIT_WRITTEN)
    whole = tmp_path / "array"
    whole.write_bytes(bytes(100))
    crash_half_written(CrashPoint.HALF_FACTORS, whole, CrashPoint.ALIAS_MOVED)
    assert whole.stat().st_size == 100
    with crash_when(CrashPoint.HALF_WARMED, lambda: True, None):
        assert crash_around(write_batch, CrashPoint.HALF_WARMED) is write_batch
    with crash_while_writing(CrashPoint.INSIDE_WRITE, str(tmp_path), CrashPoint.MAINTENANCE):
        (tmp_path / "new.parquet").touch()

    assert crash_around(write_batch, None) is write_batch
    assert crash_around(write_batch, CrashPoint.AFTER_EVENTS) is write_batch


def test_no_configuration_of_a_release_chooses_a_crash_point() -> None:
    for path in Path("conf").glob("*.yaml"):
        assert "crash_point" not in path.read_text(encoding="utf-8")
