"""Processes of ours are known again after the clock was set, and nobody else is taken for one."""

import json
import os
import sys
from pathlib import Path

import psutil
import pytest

from afterclick.local.processes import running_pid, start_process, stop_process

COMMAND = [sys.executable, "-c", "import time; time.sleep(60)"]
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc: psutil's time is all there is")


def move_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let `psutil` say what it says once the kernel has moved the time of the boot."""
    told = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: told(process) + seconds)


@needs_proc
@pytest.mark.parametrize("seconds", [5.0, -3600.0])
def test_a_process_is_found_and_ended_after_the_clock_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    pid = start_process("server", COMMAND, tmp_path)
    process = psutil.Process(pid)
    try:
        move_clock(monkeypatch, seconds)

        assert running_pid(tmp_path, "server") == pid
        assert stop_process(tmp_path, "server")
        assert not process.is_running()
    finally:
        if process.is_running():
            process.kill()


@needs_proc
def test_another_program_with_our_pid_is_left_alone_whatever_the_clock_says(tmp_path: Path) -> None:
    started = psutil.Process().create_time()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    for identity in (f"{boot} 1", "another-boot 1"):
        noted = {"pid": os.getpid(), "started": started, "identity": identity}
        (tmp_path / "server.pid.json").write_text(json.dumps(noted))

        assert running_pid(tmp_path, "server") is None
        assert not stop_process(tmp_path, "server")


def test_a_file_of_an_older_version_is_still_understood(tmp_path: Path) -> None:
    noted = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    (tmp_path / "server.pid.json").write_text(json.dumps(noted))

    assert running_pid(tmp_path, "server") == os.getpid()
