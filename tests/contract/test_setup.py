"""`make setup` the second time: it does nothing, unless the jars are gone."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = ("requirements/dev.lock", "setup.py", "lib/afterclick/local/jars.sha256", "scripts/setup.sh")
JARS = ("broker/kafka.jar", "spark/delta.jar")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project that is set up: its stamp fits, and its Python notes what it is asked for."""
    project = tmp_path / "project"
    for name in SOURCES:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    shutil.copy("scripts/setup.sh", project / "scripts")
    (project / "lib/afterclick/local/jars.sha256").write_text("".join(f"{'0' * 64}  {jar}\n" for jar in JARS))
    digest = hashlib.sha256(b"".join((project / name).read_bytes() for name in SOURCES)).hexdigest()
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" >>"$PWD/asked"\nexit "${STUB_EXIT:-0}"\n')
    python.chmod(0o755)
    (project / ".venv" / ".afterclick-stamp").write_text(f"{digest}  -")
    return project


def set_up(project: Path, cache: Path, **more: str) -> tuple[int, str]:
    """Run setup.sh; return its exit code and what it asked Python for."""
    variables = {"PATH": "/usr/bin:/bin", "AFTERCLICK_CACHE_DIR": str(cache), "PYTHON": "/bin/false", **more}
    done = subprocess.run([str(project / "scripts" / "setup.sh")], check=False, env=variables)  # noqa: S603
    asked = project / "asked"
    return done.returncode, asked.read_text() if asked.exists() else ""


def fill(cache: Path, *jars: str) -> Path:
    for jar in jars:
        (cache / "jars" / jar).parent.mkdir(parents=True, exist_ok=True)
        (cache / "jars" / jar).touch()
    return cache


def test_where_all_is_there_nothing_is_done(project: Path, tmp_path: Path) -> None:
    assert set_up(project, fill(tmp_path / "cache", *JARS)) == (0, "")


@pytest.mark.parametrize("kept", [(), JARS[:1]], ids=["no cache", "one jar is missing"])
def test_jars_that_are_gone_are_fetched_though_the_stamp_fits(
    project: Path, tmp_path: Path, kept: tuple[str, ...]
) -> None:
    assert set_up(project, fill(tmp_path / "cache", *kept)) == (0, "-m afterclick.local.jars\n")


def test_a_fetch_that_fails_is_a_failure(project: Path, tmp_path: Path) -> None:
    assert set_up(project, tmp_path / "cache", STUB_EXIT="3") == (3, "-m afterclick.local.jars\n")


def test_the_cache_is_the_one_the_program_looks_in(project: Path, tmp_path: Path) -> None:
    fill(tmp_path / ".cache" / "afterclick", *JARS)

    assert set_up(project, Path(), AFTERCLICK_CACHE_DIR="", HOME=str(tmp_path)) == (0, "")
