"""Real servers, once for the whole run; each test has its own topic, prefix and state folder."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from afterclick.local.kafka import create_topic
from afterclick.local.processes import free_port
from afterclick.local.stack import start_stack, stop_stack
from afterclick.settings import Settings, load_settings
from conftest import installation_variables


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Kafka and Valkey on free loopback ports."""
    folder = tmp_path_factory.mktemp("stack")
    endpoints = start_stack(folder)
    yield {"kafka": endpoints["kafka"]["bootstrap_servers"], "redis": endpoints["redis"]["url"]}
    stop_stack(folder)


@pytest.fixture
def live(stack: dict[str, str], tmp_path: Path) -> Settings:
    """Return settings pointing at the real servers, with a fresh topic and a fresh key prefix."""
    name = uuid.uuid4().hex[:8]
    create_topic(stack["kafka"], f"events-{name}", 2)
    more = {
        "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": stack["kafka"],
        "AFTERCLICK_KAFKA__EVENTS_TOPIC": f"events-{name}",
        "AFTERCLICK_REDIS__URL": stack["redis"],
        "AFTERCLICK_REDIS__PREFIX": f"{name}:",
        "AFTERCLICK_STREAMS__BULK_TRIGGER_SECONDS": "1",
    }
    return load_settings("local", variables=installation_variables(tmp_path / "state", **more))


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """Debian's PostgreSQL on a free loopback port; `.ci/run` installs it."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        reason = "PostgreSQL is not installed (apt-get install postgresql)"
        if os.environ.get("CI") == "true":  # noqa: TID251
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="afterclick-postgresql-"))  # pytest's own folders are closed to other users
    port = free_port()
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    if user:
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, text=True, user=user, cwd="/")  # noqa: S603

    run(str(programs[-1] / "initdb"), "-D", f"{folder}/data", "-A", "trust", "-U", "postgres")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    control = str(programs[-1] / "pg_ctl")
    run(control, "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-o", options, "start")
    yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    run(control, "-D", f"{folder}/data", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a certificate and key for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return folder
