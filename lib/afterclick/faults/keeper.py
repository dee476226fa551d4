"""Keeps processes running as a scheduler would, ends them by SIGKILL as planned, and times their return."""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from afterclick.crash_points import CrashPoint
from afterclick.errors import LocalStackError
from afterclick.local.services import Service, kill_service, start_service, stop_service
from afterclick.settings import Settings

KILLED = -9
_POINT_SECONDS = 400.0
"""Longest wait for a crash point or for work after a start: long, since a busy machine takes minutes to start Spark."""


@dataclass
class Account:
    """What happened, shared by all keepers; appending is all they do."""

    planned: int = 0
    kills: list[str] = field(default_factory=list)
    crash_points: list[str] = field(default_factory=list)
    recovery_s: dict[str, list[float]] = field(default_factory=dict)
    ended_by_itself: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def progress(self) -> float:
        """Return the share of planned kills that are done, 1 after a failure."""
        done = len(self.kills) + len(self.crash_points)
        return 1.0 if self.failures or not self.planned else min(1.0, done / self.planned)


@dataclass
class Program:
    """One of our programs: how it starts, and how to see that it works."""

    name: str
    arguments: Sequence[str]
    works: Callable[[], object]
    """A value that changes, or becomes true, when the program works again."""
    variables: Mapping[str, str] = field(default_factory=dict)
    most_pause: float = 4.0
    """Longest time in seconds between its return and the next random kill."""


class Keeper:
    """Runs one program through its planned deaths, then keeps it running.

    Parameters
    ----------
    deaths
        In order: a crash point, or None for a kill at a random time.
    """

    def __init__(
        self, program: Program, settings: Settings, account: Account, deaths: Sequence[CrashPoint | None], seed: int
    ) -> None:
        self._program = program
        self._settings = settings
        self._account = account
        self._deaths = deaths
        self._draw = random.Random(f"{seed}-{program.name}")  # noqa: S311 - repeatable
        self._stopping = threading.Event()
        self._done = threading.Event()
        self._service: Service | None = None
        self._thread = threading.Thread(target=self._run, name=f"keeper-{program.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait_until_done(self, seconds: float) -> None:
        """Wait until all deaths have been died."""
        self._done.wait(seconds)

    def stop(self) -> None:
        """End the program and this keeper."""
        self._stopping.set()
        self._thread.join(timeout=120)
        if self._service:
            stop_service(self._service)

    def _run(self) -> None:
        died_at: float | None = None
        try:
            for death in self._deaths:
                died_at = self._live_and_die(death, died_at)
        except LocalStackError as error:
            self._account.failures.append(str(error))
        self._done.set()
        self._keep_alive(died_at)

    def _live_and_die(self, death: CrashPoint | None, died_at: float | None) -> float:
        before = self._program.works()
        self._start(death)
        if death is None:
            self._await_work(before, died_at)
            self._pause(self._draw.uniform(0.0, self._program.most_pause))
            if self._service:
                kill_service(self._service)
            self._account.kills.append(self._program.name)
        else:
            self._await_crash(death)
            self._account.crash_points.append(death.value)
        return time.monotonic()

    def _start(self, death: CrashPoint | None) -> None:
        chosen = {"AFTERCLICK_FAULTS__CRASH_POINT": death.value} if death else {}
        variables = {**self._program.variables, **chosen}
        self._service = start_service(self._program.name, self._program.arguments, self._settings, variables=variables)

    def _await_work(self, before: object, died_at: float | None) -> None:
        """Wait until the program works; start it again when it gives up (a store was away), as a scheduler would."""
        deadline = time.monotonic() + _POINT_SECONDS
        while not _is_new(now := self._program.works(), before) and not self._stopping.is_set():
            self._restart_if_ended(None)
            if time.monotonic() > deadline:
                message = f"{self._program.name} did no work within {_POINT_SECONDS:.0f} s: {before} -> {now}"
                raise LocalStackError(message)
            time.sleep(0.05)
        if died_at is not None:
            self._account.recovery_s.setdefault(self._program.name, []).append(time.monotonic() - died_at)

    def _await_crash(self, death: CrashPoint) -> None:
        deadline = time.monotonic() + _POINT_SECONDS
        while self._service and self._service.process.poll() != KILLED:
            self._restart_if_ended(death)
            if time.monotonic() > deadline:
                kill_service(self._service)
                message = f"{self._program.name} did not reach {death.value} within {_POINT_SECONDS:.0f} s"
                raise LocalStackError(message)
            time.sleep(0.05)
        if self._service:
            kill_service(self._service)  # what is left of its group

    def _restart_if_ended(self, death: CrashPoint | None) -> None:
        if self._service and self._service.process.poll() not in (None, KILLED):
            self._account.ended_by_itself.append(f"{self._program.name}: {self._service.process.returncode}")
            kill_service(self._service)
            self._pause(0.5)
            self._start(death)

    def _keep_alive(self, died_at: float | None) -> None:
        before = self._program.works()
        self._start(None)
        with suppress(LocalStackError):
            self._await_work(before, died_at)
        while not self._stopping.wait(0.1):
            self._restart_if_ended(None)

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)


def kill_server(
    name: str, kill: Callable[[], object], start: Callable[[], object], works: Callable[[], object], account: Account
) -> None:
    """End a server by SIGKILL, start it again, and time until what depends on it works."""
    kill()
    died_at = time.monotonic()
    start()
    before = works()
    account.kills.append(name)
    while not _is_new(works(), before):
        if account.failures or time.monotonic() - died_at > _POINT_SECONDS:
            return
        time.sleep(0.05)
    account.recovery_s.setdefault(name, []).append(time.monotonic() - died_at)


def _is_new(now: object, before: object) -> bool:
    return now is not False and now != before  # batch 0 is one, and equals False


def answers(url: str) -> Callable[[], object]:
    """Return a check that a URL answers 200."""

    def check() -> object:
        try:
            return httpx.get(url, timeout=2.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    return check
