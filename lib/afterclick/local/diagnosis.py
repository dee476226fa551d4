"""What `afterclick doctor` looks at: each check says what was found and how to mend it."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from afterclick.errors import AfterclickError
from afterclick.local import jars, java, stack

PINNED = {"pyspark": "4.2.0", "delta-spark": "4.4.0"}
LEAST_FREE_GIB = 2.0


@dataclass(frozen=True)
class Finding:
    """One check's outcome."""

    check: str
    is_good: bool
    found: str
    fix: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def diagnose(state_dir: Path) -> list[Finding]:
    """Run every check; one that raises is a bad finding, not an end."""
    checks: list[Callable[[Path], Finding]] = [_java, _packages, _two_pysparks, _worker_python, _jars, _disk, _servers]
    return [_guarded(check, state_dir) for check in checks]


def _guarded(check: Callable[[Path], Finding], state_dir: Path) -> Finding:
    try:
        return check(state_dir)
    except (AfterclickError, OSError) as error:
        return Finding(check.__name__.strip("_"), False, str(error), "Do what the message says and run doctor again.")


def _java(_: Path) -> Finding:
    home = java.find_java(jars.default_cache_dir())
    return Finding("java", True, f"{home}, version {java.java_version(home)}", "")


def _packages(_: Path) -> Finding:
    found = {name: version(name) for name in PINNED}
    good = found == PINNED
    return Finding(
        "packages", good, ", ".join(f"{n} {v}" for n, v in found.items()), f"Wanted {PINNED}: run `make setup`."
    )


def _two_pysparks(_: Path) -> Finding:
    try:
        second = version("pyspark-client")
    except PackageNotFoundError:
        return Finding("one pyspark", True, "only pyspark", "")
    return Finding(
        "one pyspark", False, f"pyspark-client {second} too", "Uninstall it; Airflow needs a venv of its own."
    )


def _worker_python(_: Path) -> Finding:
    chosen = os.environ.get("PYSPARK_PYTHON", sys.executable)  # noqa: TID251 - what Spark itself reads
    good = shutil.which(chosen) is not None
    return Finding("PYSPARK_PYTHON", good, chosen, "Unset it, or point it at the Python of this venv.")


def _jars(_: Path) -> Finding:
    cache = jars.default_cache_dir()
    found = jars.spark_jars(cache) + jars.broker_jars(cache)
    return Finding("jars", True, f"{len(found)} in {cache}/jars", "")


def _disk(state_dir: Path) -> Finding:
    folder = next(parent for parent in (state_dir.resolve(), *state_dir.resolve().parents) if parent.exists())
    free = shutil.disk_usage(folder).free / 2**30
    return Finding(
        "disk", free >= LEAST_FREE_GIB, f"{free:.1f} GiB free at {folder}", f"Keep {LEAST_FREE_GIB} GiB free."
    )


def _servers(state_dir: Path) -> Finding:
    status = stack.stack_status(state_dir)
    stopped = [name for name, pid in status.items() if pid is None]
    found = ", ".join(f"{name} pid {pid}" if pid else f"{name} not running" for name, pid in status.items())
    return Finding("local servers", not stopped, found, "Run `afterclick up`.")
