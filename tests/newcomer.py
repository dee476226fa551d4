"""A newcomer's machine: a clone of this repository, a project of their own in it, and a shell that says what went wrong."""

import csv
import os
import random
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml

from afterclick.local.services import Service, stop_services, wait_until_logged, wait_until_ready
from documented_commands import DocumentedCommand, key_of

_SMALL = {
    "AFTERCLICK_PROMOTION__MIN_PEOPLE": "10",
    "AFTERCLICK_PROMOTION__MIN_INTERACTIONS": "50",
    "AFTERCLICK_PROMOTION__MIN_HOLDOUT_PEOPLE": "0",
    "AFTERCLICK_MODEL__BLEND_CASES": "200",
    "AFTERCLICK_STREAMS__BULK_TRIGGER_SECONDS": "2",
}
"""A log of a hundred people needs lower gates (docs/operations.md, 'A model was refused')."""


@dataclass
class Newcomer:
    """Types commands in a project folder below a clone; `ran` has what each was called."""

    clone: Path
    ran: set[str] = field(default_factory=set)
    services: list[Service] = field(default_factory=list)

    @property
    def shop(self) -> Path:
        """Return the project folder, as README.md calls it."""
        return self.clone / "my_shop"

    @property
    def endpoints(self) -> dict[str, Any]:
        """Return the addresses and keys that `afterclick up` wrote."""
        return dict(yaml.safe_load((self.shop / ".afterclick" / "endpoints.yaml").read_text(encoding="utf-8")))

    def api(self, path: str) -> dict[str, Any]:
        """Return the API's answer."""
        answer = httpx.get(f"http://127.0.0.1:{self.endpoints['serving']['port']}{path}", timeout=10.0)
        return dict(answer.raise_for_status().json())

    def type(self, command: str, *, code: int = 0, where: Path | None = None) -> str:
        """Run one command as a shell would, and return what it printed."""
        self.ran.add(key_of(DocumentedCommand("", command, is_block=True)))
        done = subprocess.run(  # noqa: S602 - documented commands are shell
            command, shell=True, cwd=where or self.shop, env=self._environment(), capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == code, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def submit(self, command: str) -> str:
        """Run a job by the clone's launcher with the project's settings and state."""
        places = {"AFTERCLICK_STATE_DIR": self.shop / ".afterclick", "AFTERCLICK_CONF_DIR": self.shop / "conf"}
        set_here = " ".join(f"{name}={shlex.quote(str(place))}" for name, place in places.items())
        return self.type(f"{set_here} {command}", where=self.clone)

    def start(self, name: str, command: str) -> Service:
        """Start a program in the background."""
        self.ran.add(key_of(DocumentedCommand("", command, is_block=True)))
        log = self.shop / ".afterclick" / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            process = subprocess.Popen(  # noqa: S602
                f"exec {command}", shell=True, cwd=self.shop, env=self._environment(), stdin=subprocess.DEVNULL,
                stdout=stream, stderr=stream, process_group=0,
            )  # fmt: skip
        service = Service(name, process, log)
        self.services.append(service)
        return service

    def start_streams(self) -> None:
        """Start the streams and wait until they listen."""
        streams = self.start("streams", "python -m jobs.run_streams")
        wait_until_logged(streams, ["query started name=enrich_events"], seconds=300)

    def start_services(self) -> None:
        """Start collector, API and streams."""
        ends = self.endpoints
        collector, api = self.start("collector", "afterclick collector"), self.start("api", "afterclick serve")
        self.start_streams()
        wait_until_ready(collector, f"http://127.0.0.1:{ends['collector']['port']}/health/ready")
        wait_until_ready(api, f"http://127.0.0.1:{ends['serving']['port']}/health/ready")

    def restart_streams(self) -> None:
        """End the streams and start them again: a suite is read at the start."""
        streams = self.services.pop(next(at for at, one in enumerate(self.services) if one.name == "streams"))
        stop_services([streams])
        streams.log.unlink()
        self.start_streams()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AFTERCLICK_", "PYTHONPATH"))}  # noqa: TID251
        path = f"{self.clone}/.venv/bin:{kept['PATH']}"
        return {**kept, **_SMALL, "PATH": path, "VIRTUAL_ENV": f"{self.clone}/.venv"}


@contextmanager
def newcomer(folder: Path) -> Iterator[Newcomer]:
    """Clone this repository's last commit and set it up as the README says; end everything on leaving."""
    clone = folder / "afterclick"
    subprocess.run(["git", "clone", "--quiet", str(Path.cwd()), str(clone)], check=True)  # noqa: S603, S607
    here = Newcomer(clone)
    try:
        here.type("make setup", where=clone)
        yield here
    finally:
        stop_services(here.services)
        if (here.shop / ".afterclick").is_dir():
            here.type("afterclick down")


def write_log(path: Path, *, people: int = 120, items: int = 30, seed: int = 1) -> None:
    """Write three weeks of visits, columns as ``conf/mappings/my_events.yaml`` expects; two tastes, odd and even."""
    draw, now = random.Random(seed), datetime.now(UTC)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "product", "time", "action", "order", "quantity", "price"])
        for person in range(people):
            for visit in range(4):
                begun = now - timedelta(days=1 + draw.uniform(0, 4) + 5 * visit)
                for step in range(4):
                    item = 2 * draw.randrange(items // 2) + person % 2
                    at = (begun + timedelta(minutes=step)).isoformat()
                    bought = step == 3
                    order = [f"order-{person}-{visit}", 1, 4.5] if bought else ["", "", ""]
                    rows.writerow([f"person-{person}", f"item-{item}", at, "bought" if bought else "clicked", *order])


def readme_block(language: str, containing: str) -> str:
    """Return the README's fenced block of a language that holds a text."""
    text = Path("README.md").read_text(encoding="utf-8")
    found = [block for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if containing in block]
    assert len(found) == 1, f"{len(found)} blocks of README.md hold {containing!r}"
    return str(found[0])


def wait_for(what: str, is_true: Callable[[], Any], *, seconds: float = 120) -> Any:
    """Return the first true value; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := is_true()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.3)
    return found
