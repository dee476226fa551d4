"""Start and end our own programs as child processes: collector, API and streams."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from afterclick.errors import LocalStackError
from afterclick.settings import Settings


@dataclass(frozen=True)
class Service:
    """A running child process and where it logs."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise `LocalStackError` with the end of the log when the process has ended."""
        if self.process.poll() is not None:
            message = f"{self.name} ended with exit code {self.process.returncode}; {self.log} ends:\n{_tail(self.log)}"
            raise LocalStackError(message)


def start_service(
    name: str,
    arguments: Sequence[str],
    settings: Settings,
    *,
    in_background: bool = False,
    variables: Mapping[str, str] | None = None,
) -> Service:
    """Start ``python ARGUMENTS`` in its own process group, logging to ``<state_dir>/logs``.

    Parameters
    ----------
    in_background
        Use only processor time that nobody else wants.
    variables
        Settings of this service only.
    """
    command = [sys.executable, *arguments]
    log = settings.state_dir / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**child_environment(settings), **(variables or {})},
            process_group=0,  # not a session of its own: Linux would share the processor by session (sched(7), autogroup)
        )
    if in_background:
        _run_when_idle(process.pid)
    return Service(name, process, log)


def _run_when_idle(pid: int) -> None:
    """Let any other process of our session take the processor at once; children inherit it."""
    if hasattr(os, "SCHED_IDLE"):  # Linux
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.setpriority(os.PRIO_PROCESS, pid, 19)


def child_environment(settings: Settings) -> Mapping[str, str]:
    """Environment that makes a child load the same settings."""
    own = {
        "AFTERCLICK_ENVIRONMENT": settings.environment,
        "AFTERCLICK_STATE_DIR": str(settings.state_dir.resolve()),
        "AFTERCLICK_CONF_DIR": str(settings.conf_dir.resolve()),
        "AFTERCLICK_STREAMS__BULK_TRIGGER_SECONDS": str(settings.streams.bulk_trigger_seconds),
        "PYSPARK_PYTHON": sys.executable,
        "OPENBLAS_NUM_THREADS": "1",
    }
    return {**os.environ, **own}  # noqa: TID251 - handed on


def wait_until_ready(service: Service, url: str, *, seconds: float = 60.0) -> None:
    """Wait until a GET of `url` answers 200.

    Raises
    ------
    LocalStackError
        If the process ends or does not answer in time, with the end of its log.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        service.check()
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=2.0).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    message = (
        f"{service.name} did not answer 200 at {url} within {seconds:.0f} s; {service.log} ends:\n{_tail(service.log)}"
    )
    raise LocalStackError(message)


def wait_until_logged(service: Service, texts: Sequence[str], *, seconds: float = 120.0) -> None:
    """Wait until the service's log holds every one of `texts`; raises as `wait_until_ready`."""
    deadline = time.monotonic() + seconds
    missing = list(texts)
    while missing and time.monotonic() < deadline:
        service.check()
        log = service.log.read_text(encoding="utf-8", errors="replace")
        missing = [text for text in texts if text not in log]
        time.sleep(0.1)
    if missing:
        message = (
            f"{service.name} did not say {missing} within {seconds:.0f} s; {service.log} ends:\n{_tail(service.log)}"
        )
        raise LocalStackError(message)


def stop_service(service: Service, *, seconds: float = 60.0) -> None:
    """End a child by SIGTERM, and by SIGKILL after `seconds`; its whole process group with it."""
    if service.process.poll() is None:
        service.process.send_signal(signal.SIGTERM)
        try:
            service.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            kill_service(service)
    _kill_group(service)


def kill_service(service: Service) -> None:
    """End a child and its process group by SIGKILL, as a crash would."""
    _kill_group(service)
    service.process.wait(timeout=30)


@contextlib.contextmanager
def stopping(services: list[Service], *, by_force: bool = False) -> Iterator[None]:
    """End all services on leaving, `by_force` as a crash would: nobody needs what they leave."""
    try:
        yield
    finally:
        stop_services(services, kill_service if by_force else stop_service)


def stop_services(services: Sequence[Service], end: Callable[[Service], None] = stop_service) -> None:
    """End all services at once: each takes seconds."""
    with ThreadPoolExecutor() as together:
        list(together.map(end, services))


def _kill_group(service: Service) -> None:
    # The child is its group's leader (process_group=0), so the group id is its pid.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(service.process.pid, signal.SIGKILL)


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
