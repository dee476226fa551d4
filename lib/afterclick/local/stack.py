"""Kafka and Valkey together: start, stop, and the endpoints that settings read."""

import secrets
from pathlib import Path
from typing import Any

import yaml

from afterclick.local.jars import broker_jars, default_cache_dir
from afterclick.local.java import find_java
from afterclick.local.kafka import create_topic, start_kafka
from afterclick.local.processes import free_port, running_pid, stop_process
from afterclick.local.valkey import start_valkey
from afterclick.settings import Settings, load_settings

SERVERS = ("valkey", "kafka")


def start_stack(state_dir: Path) -> dict[str, Any]:
    """Start what is not running and return the endpoints; ports and secrets are kept from the last time."""
    state_dir.mkdir(parents=True, exist_ok=True)
    endpoints = _endpoints(state_dir)
    cache = default_cache_dir()
    start_valkey(state_dir, port=int(endpoints["redis"]["url"].rsplit(":", 1)[1].split("/")[0]))
    bootstrap = endpoints["kafka"]["bootstrap_servers"]
    start_kafka(state_dir, broker_jars(cache), find_java(cache), port=int(bootstrap.rsplit(":", 1)[1]))
    settings = local_settings(state_dir)
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
    import os  # noqa: PLC0415

    return load_settings("local", variables={**os.environ, "AFTERCLICK_STATE_DIR": str(state_dir)})  # noqa: TID251


def _endpoints(state_dir: Path) -> dict[str, Any]:
    path = state_dir / "endpoints.yaml"
    if path.exists():
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    endpoints = {
        "kafka": {"bootstrap_servers": f"127.0.0.1:{free_port()}"},
        "redis": {"url": f"redis://127.0.0.1:{free_port()}/0"},
        "collector": {"port": free_port(), "write_keys": [secrets.token_hex(16)]},
        "serving": {"port": free_port()},
        "privacy": {"pseudonym_key": secrets.token_hex(32)},
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(endpoints), encoding="utf-8")
    return endpoints
