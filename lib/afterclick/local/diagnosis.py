"""`afterclick doctor`: looks at the machine once, then runs every check on what was seen."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from kafka.errors import KafkaError
from redis import RedisError

from afterclick.connectors.checkpoints import TopicState, topic_state
from afterclick.connectors.redis_store import open_client
from afterclick.errors import AfterclickError
from afterclick.local import checks_programs, checks_servers, checks_settings, checks_state, jars
from afterclick.local.findings import Finding, Installation

Check = Callable[[Installation], Finding]


def check_redis_url(seen: Installation) -> Finding:
    """Try whether the client takes the address; what it says of a bad one may hold the password."""
    if seen.settings is None:
        return Finding("redis url", True, "not looked at: settings do not load", "")
    try:
        open_client(seen.settings.redis)
    except ValueError:
        fix = "Write redis.url (AFTERCLICK_REDIS__URL) as redis://[user:password@]host:port/db, with %2F for / in a password."
        return Finding("redis url", False, "redis.url is no address like redis://host:port/db", fix)
    return Finding("redis url", True, "can be read", "")


CHECKS: dict[str, Check] = {
    "java": checks_programs.check_java,
    "python": checks_programs.check_python,
    "packages": checks_programs.check_packages,
    "one pyspark": checks_programs.check_one_pyspark,
    "SPARK_HOME": checks_programs.check_spark_home,
    "PYSPARK_PYTHON": checks_programs.check_worker_python,
    "jars": checks_programs.check_jars,
    "connectors": checks_programs.check_connectors,
    "disk": checks_state.check_disk,
    "memory": checks_state.check_memory,
    "settings": checks_settings.check_settings,
    "variables": checks_settings.check_variables,
    "secrets": checks_settings.check_secrets,
    "pseudonym key": checks_settings.check_pseudonym_key,
    "rule files": checks_settings.check_rule_files,
    "checkpoints": checks_state.check_checkpoints,
    "local servers": checks_servers.check_servers,
    "ports": checks_servers.check_ports,
    "redis url": check_redis_url,
    "clock": checks_servers.check_clocks,
    "kafka topic": checks_servers.check_topic,
}


def diagnose(state_dir: Path) -> list[Finding]:
    """Look at this machine and run every check."""
    return run_checks(look_around(state_dir, dict(os.environ)))  # noqa: TID251 - variables are what is checked


def run_checks(seen: Installation) -> list[Finding]:
    """Run every check; one that raises is a bad finding, not an end."""
    return [_guarded(name, check, seen) for name, check in CHECKS.items()]


def _guarded(name: str, check: Check, seen: Installation) -> Finding:
    try:
        return check(seen)
    except (AfterclickError, OSError, ImportError, ValueError) as error:
        told = str(error) or type(error).__name__
        return Finding(name, False, told, "Do what the message says and run doctor again.")


def look_around(state_dir: Path, variables: Mapping[str, str]) -> Installation:
    """Return what there is now; what does not answer is left out."""
    folder = next(parent for parent in (state_dir.resolve(), *state_dir.resolve().parents) if parent.is_dir())
    seen = Installation(
        state_dir=state_dir,
        cache=jars.default_cache_dir(),
        pinned_jars=jars.pinned_sums(),
        variables=variables,
        python=sys.version_info[:2],
        search_path=tuple(sys.path),
        packages=_installed((*checks_programs.PINNED, "pyspark-client")),
        free_gib=shutil.disk_usage(folder).free / 2**30,
        memory_gib=_memory_bytes() / 2**30,
        seconds_ahead={},
        topic=None,
    )
    return replace(seen, seconds_ahead=_file_clock(folder) | _redis_clock(seen), topic=_topic(seen))


def _installed(names: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _memory_bytes() -> int:
    limit = Path("/sys/fs/cgroup/memory.max")  # a container's, smaller than the machine
    text = limit.read_text(encoding="ascii").strip() if limit.exists() else "max"
    total = int(psutil.virtual_memory().total)
    return min(total, int(text)) if text.isdigit() else total


def _file_clock(folder: Path) -> dict[str, float]:
    with suppress(OSError), tempfile.NamedTemporaryFile(dir=folder) as file:
        return {f"the file system of {folder}": Path(file.name).stat().st_mtime - time.time()}
    return {}


def _redis_clock(seen: Installation) -> dict[str, float]:
    if seen.settings is None:
        return {}
    with suppress(RedisError, ValueError):  # `check_redis_url` tells of the latter
        seconds, microseconds = open_client(seen.settings.redis).time()
        return {"Redis": seconds + microseconds / 1e6 - time.time()}
    return {}


def _topic(seen: Installation) -> TopicState | None:
    if seen.settings is None:
        return None
    with suppress(KafkaError, OSError, KeyError):
        return topic_state(seen.settings.kafka)
    return None
