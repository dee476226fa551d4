"""Kafka and Valkey together: start, stop, and the endpoints that settings read."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from afterclick.errors import LocalStackError
from afterclick.local.jars import broker_jars, default_cache_dir
from afterclick.local.java import find_java
from afterclick.local.kafka import create_topic, start_kafka
from afterclick.local.processes import free_port, running_pid, stop_process
from afterclick.local.valkey import start_valkey
from afterclick.settings import Settings, load_settings

SERVERS = ("valkey", "kafka")


def start_stack(state_dir: Path) -> dict[str, Any]:
    """Start what is not running and return the endpoints; ports and secrets are kept from the last time.

    Raises
    ------
    LocalStackError
        If endpoints.yaml is damaged or lost, or a server does not come up.
    SettingsError
        If the settings do not load; nothing is started then.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    path = state_dir / "endpoints.yaml"
    if not path.exists():
        _refuse_new_key(state_dir)
        _write_whole(path, yaml.safe_dump(_new_endpoints()))
    endpoints, valkey_port, kafka_port = _read_endpoints(path)
    settings = local_settings(state_dir)
    cache = default_cache_dir()
    start_valkey(state_dir, port=valkey_port)
    start_kafka(state_dir, broker_jars(cache), find_java(cache), port=kafka_port)
    bootstrap = endpoints["kafka"]["bootstrap_servers"]
    create_topic(bootstrap, settings.kafka.events_topic, settings.kafka.events_partitions)
    create_topic(bootstrap, settings.triggers.topic, 1)
    create_topic(bootstrap, settings.serving.shown_topic, 1)
    return endpoints


def stop_stack(state_dir: Path) -> list[str]:
    """Stop our servers and return the names of those that ran."""
    return [name for name in SERVERS if stop_process(state_dir, name)]


def stack_status(state_dir: Path) -> dict[str, int | None]:
    """Pid of each of our servers, None when it does not run."""
    return {name: running_pid(state_dir, name) for name in SERVERS}


def local_settings(state_dir: Path) -> Settings:
    """Load the settings of the stack in `state_dir`, the process environment in force beside it."""
    return load_settings("local", variables=_variables(state_dir))


def _variables(state_dir: Path) -> Mapping[str, str]:
    return {**os.environ, "AFTERCLICK_STATE_DIR": str(state_dir)}  # noqa: TID251


def _refuse_new_key(state_dir: Path) -> None:
    """Raise `LocalStackError` when there are tables already: under a new key everybody in them is a stranger."""
    has_key = "AFTERCLICK_PRIVACY__PSEUDONYM_KEY" in _variables(state_dir)
    if not has_key and any(state_dir.glob("tables/*/_delta_log")):
        message = (
            f"{state_dir} has tables but no endpoints.yaml, which holds the pseudonym key: with a new one everybody is a new "
            "person. Restore the file from a backup; to begin anew without these tables, move the folder away."
        )
        raise LocalStackError(message)


def _new_endpoints() -> dict[str, Any]:
    return {
        "kafka": {"bootstrap_servers": f"127.0.0.1:{free_port()}"},
        "redis": {"url": f"redis://127.0.0.1:{free_port()}/0"},
        "collector": {"port": free_port(), "write_keys": [secrets.token_hex(16)]},
        "serving": {"port": free_port()},
        "privacy": {"pseudonym_key": secrets.token_hex(32)},
    }


def _write_whole(path: Path, text: str) -> None:
    """Write a file for our eyes only; it appears under its name when the disk has all of it."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.touch(mode=0o600)
    with fresh.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def _read_endpoints(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the endpoints and the ports of Valkey and Kafka in them."""
    try:
        endpoints = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        addresses = (endpoints["redis"]["url"], endpoints["kafka"]["bootstrap_servers"])
        valkey_port, kafka_port = (int(address.rsplit(":", 1)[1].split("/")[0]) for address in addresses)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        message = (
            f"{path} is damaged or cannot be read ({type(error).__name__}). It holds the pseudonym key: restore it from a "
            f"backup, or correct it by hand. Only when {path.parent} has no tables to keep, move that folder away and run "
            "`afterclick up` again."
        )
        raise LocalStackError(message) from error
    return endpoints, valkey_port, kafka_port
