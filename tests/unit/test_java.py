"""Finding a Java: the right versions, and a message that says what to do."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

from afterclick.errors import LocalStackError
from afterclick.local import jars, java


def fake_java(home: Path, version: str) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    return home


@pytest.mark.parametrize("version", ["17.0.1", "21.0.8"])
def test_find_java_takes_java_home_in_range(tmp_path: Path, version: str) -> None:
    home = fake_java(tmp_path / "jdk", version)

    assert java.find_java(tmp_path, variables={"JAVA_HOME": str(home)}) == home


def test_find_java_takes_the_one_on_path_when_java_home_is_too_old(tmp_path: Path) -> None:
    old, good = fake_java(tmp_path / "old", "11.0.2"), fake_java(tmp_path / "good", "17.0.1")

    found = java.find_java(tmp_path, variables={"JAVA_HOME": str(old), "PATH": str(good / "bin")})

    assert found == good


def test_find_java_says_what_it_found_when_nothing_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = fake_java(tmp_path / "old", "11.0.2")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(LocalStackError, match=r"no Java 17-21 \(.*old: 11\).*make setup"):
        java.find_java(tmp_path, variables={"JAVA_HOME": str(old), "PATH": ""})


def test_packaged_java_runs_with_spark_s_options(tmp_path: Path) -> None:
    home = java.find_java(tmp_path, variables={"PATH": ""})

    command = [str(home / "bin" / "java"), "--add-modules=jdk.incubator.vector", "-version"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603


def test_broker_jars_say_make_setup_when_absent(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="run `make setup`"):
        jars.broker_jars(tmp_path)


def test_ensure_jars_refuses_a_changed_file(tmp_path: Path) -> None:
    cache = jars.default_cache_dir() / "jars"
    for name in jars.pinned_sums():
        (tmp_path / "jars" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "jars" / name).symlink_to(cache / name)
    victim = tmp_path / "jars" / next(iter(jars.pinned_sums()))
    victim.unlink()
    victim.write_bytes(b"not a jar")

    with pytest.raises(LocalStackError, match="pinned is"):
        jars.ensure_jars(tmp_path, tmp_path)
