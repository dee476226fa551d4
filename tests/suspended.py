"""Suspend a process by SIGSTOP, and be sure that it is suspended."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def suspend(pid: int, seconds: float = 10.0) -> None:
    """Return when every thread of the process has stopped.

    ``kill`` returns before: the threads stop when the kernel schedules them, and on a busy machine a broker answers
    a few more requests until then.
    """
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + seconds
    while set(_states(pid)) != {"T"}:
        assert time.monotonic() < deadline, f"process {pid} does not stop"
        time.sleep(0.001)


def resume(pid: int) -> None:
    """Let it go on."""
    os.kill(pid, signal.SIGCONT)


def _states(pid: int) -> list[str]:
    """Return the state of each thread, a letter as in proc(5)."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # a thread that ended meanwhile
            states.append(stat.read_text().rpartition(")")[2].split()[0])
    return states
