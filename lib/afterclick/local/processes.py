"""Background processes that we end by pid, and only when they are surely ours."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from afterclick.errors import LocalStackError


def end_in_order_when_terminated() -> None:
    """Take SIGTERM for the end of the program, as ctrl-c is: what it has started is then ended on the way out.

    For the main thread of a program that starts servers for its own life only.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def free_port() -> int:
    """Return a loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    """Tell whether anything accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_process(
    name: str, command: Sequence[str], folder: Path, *, variables: Mapping[str, str] | None = None
) -> int:
    """Start a process of its own session, logging to ``<folder>/logs/<name>.log``; return its pid."""
    log = folder / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            env={**os.environ, **(variables or {})},  # noqa: TID251 - handed on
        )
    started = psutil.Process(process.pid).create_time()
    noted = {"pid": process.pid, "started": started, "identity": _identity(process.pid)}
    _pid_file(folder, name).write_text(json.dumps(noted), encoding="utf-8")
    return process.pid


def running_pid(folder: Path, name: str) -> int | None:
    """Pid of our process `name`; None when it is not running or the pid now belongs to someone else."""
    with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
        noted = json.loads(_pid_file(folder, name).read_text(encoding="utf-8"))
        process = psutil.Process(noted["pid"])
        if _is_noted(process, noted) and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return int(process.pid)
    return None


def _is_noted(process: psutil.Process, noted: Mapping[str, Any]) -> bool:
    if noted.get("identity"):
        return bool(_identity(process.pid) == noted["identity"])
    return bool(abs(process.create_time() - noted["started"]) < 1.0)


def _identity(pid: int) -> str | None:
    """Return the boot and the ticks since then at which a process started; None where no ``/proc`` tells.

    Its time of start, which `psutil` computes from the clock, moves when the clock is set.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return f"{boot} {state.rsplit(')', 1)[1].split()[19]}"  # a program's name may hold spaces and brackets


def stop_process(folder: Path, name: str, *, seconds: float = 20.0) -> bool:
    """End our process `name` by SIGTERM, then SIGKILL; False when there was none."""
    pid = running_pid(folder, name)
    if pid is not None:
        process = psutil.Process(pid)
        process.terminate()
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(seconds)
    _pid_file(folder, name).unlink(missing_ok=True)
    return pid is not None


def kill_process(folder: Path, name: str, *, seconds: float = 20.0) -> bool:
    """End our process `name` by SIGKILL, as a crash would; False when there was none."""
    pid = running_pid(folder, name)
    if pid is not None:
        process = psutil.Process(pid)
        process.kill()
        process.wait(seconds)
    return pid is not None


def wait_for_port(name: str, port: int, folder: Path, *, seconds: float = 30.0) -> None:
    """Wait until our process listens.

    Raises
    ------
    LocalStackError
        If it ends or does not listen in time, with the end of its log.
    """
    deadline = time.monotonic() + seconds
    while not is_listening(port):
        if running_pid(folder, name) is None or time.monotonic() > deadline:
            log = folder / "logs" / f"{name}.log"
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
            message = f"{name} does not listen on 127.0.0.1:{port} after {seconds:.0f} s; {log} ends:\n{tail}"
            raise LocalStackError(message)
        time.sleep(0.05)


def refuse_foreign_listener(name: str, port: int) -> None:
    """Raise `LocalStackError` when somebody else listens on a port we were told to use."""
    if is_listening(port):
        message = (
            f"port {port} for {name} is taken by process {port_owner(port) or '?'}, which is not ours: it was left alone. "
            "End it, or write another port into endpoints.yaml in the state folder; keep the rest of that file: it holds "
            "the pseudonym key."
        )
        raise LocalStackError(message)


def port_owner(port: int) -> int | None:
    """Pid of the process that listens on the port; None when there is none or it is another user's."""
    listening = (c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.status == "LISTEN")
    return next((connection.pid for connection in listening), None)


def _pid_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.pid.json"
