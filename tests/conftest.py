"""UTC for the whole run, a marker from the folder, and no network in unit and contract tests."""

import ipaddress
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from afterclick.local.java import compile_quickly
from afterclick.settings import Settings, load_settings
from builders import KEY

# A worker of pytest-xdist has no main file; pyspark takes that for a doctest and ends the process.
vars(sys.modules["__main__"]).setdefault("__file__", __file__)
os.environ["TZ"] = "UTC"  # noqa: TID251 - before the first datetime is made
time.tzset()
# Most of what Spark does in a test it does for the first time: optimising it costs more than it gives.
compile_quickly()

KINDS = ("unit", "contract", "integration", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its folder's name, and with `spark` when it asks for a session."""
    for item in items:
        for kind in KINDS:
            if f"/tests/{kind}/" in item.path.as_posix():
                item.add_marker(kind)
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker("spark")
    _put_long_files_first(items)


def _put_long_files_first(items: list[pytest.Item]) -> None:
    """Sort files by the longest time-out in them, then by Spark: two processes end together when the last file is a short one."""
    longest: dict[Path, tuple[float, bool]] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")
        own = (float(mark.args[0]) if mark else 0.0, item.get_closest_marker("spark") is not None)
        longest[item.path] = max(longest.get(item.path, own), own)
    items.sort(key=lambda item: longest[item.path], reverse=True)


@pytest.fixture(autouse=True)
def _only_loopback(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine: unit and contract tests need no network."""
    if not {"unit", "contract"} & {mark.name for mark in request.node.iter_markers()}:
        return
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not _is_loopback(str(address[0])):
            message = f"a {KINDS[:2]} test tried to reach {address}"
            raise RuntimeError(message)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def installation_variables(state_dir: Path, **more: str) -> dict[str, str]:
    """Environment variables of a test installation; nothing listens at its default addresses."""
    return {
        "AFTERCLICK_STATE_DIR": str(state_dir),
        "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "AFTERCLICK_REDIS__URL": "redis://127.0.0.1:1/0",
        "AFTERCLICK_PRIVACY__PSEUDONYM_KEY": KEY.decode(),
        "AFTERCLICK_COLLECTOR__WRITE_KEYS": "[test-write-key]",
        **more,
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Local settings whose tables, checkpoints and models are this test's own."""
    return load_settings("local", variables=installation_variables(tmp_path / "state"))


@pytest.fixture(scope="session")
def spark(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One session for the whole run; nobody stops it but the end of the process.

    Unit tests make many plans for a few rows each: Spark generates no code for them, which costs a fifth of the time.
    Integration tests run the same plans with it.
    """
    from afterclick.local.jars import default_cache_dir, spark_jars
    from afterclick.spark_session import build_spark

    folder = tmp_path_factory.mktemp("spark")
    conf = load_settings("local", variables=installation_variables(folder)).spark
    is_unit = all(item.get_closest_marker("unit") for item in request.session.items)
    ours = {
        **conf,
        **({"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"} if is_unit else {}),
        "spark.sql.shuffle.partitions": "2",  # small data: more tasks only cost time
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.showConsoleProgress": "false",
    }
    return build_spark("tests", ours, jars=spark_jars(default_cache_dir()))


@pytest.fixture(scope="session")
def _empty_tables(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from afterclick.connectors.delta_tables import ensure_tables

    state = tmp_path_factory.mktemp("tables")
    settings = load_settings("local", variables=installation_variables(state))
    ensure_tables(spark, settings)
    return Path(settings.storage.tables)


@pytest.fixture
def tables(_empty_tables: Path, settings: Settings) -> Settings:
    """Return settings whose tables exist and are empty: a copy, because creating them takes seconds."""
    shutil.copytree(_empty_tables, settings.storage.tables)
    return settings


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Development data beside the repository; a user has only the repository."""
    folder = Path("../shared/data")
    if folder.is_dir():
        return folder
    reason = f"{folder.resolve()} is not on this machine (development data, not part of the repository)"
    if os.environ.get("CI") == "true":  # noqa: TID251
        pytest.fail(reason)
    pytest.skip(reason)
