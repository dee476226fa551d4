"""The command line of every job, and how the launcher refuses."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from afterclick.local.jars import default_cache_dir
from golden_files import assert_golden

JOBS = sorted(path.stem for path in Path("jobs").glob("[a-z]*.py"))


def launch(
    *arguments: str, environment: str = "local", folder: Path = Path(), **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [str(Path("spark-submit.sh").resolve()), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            "AFTERCLICK_ENVIRONMENT": environment,
            "PATH": "/usr/bin:/bin",
            "PYTHON": sys.executable,
            "AFTERCLICK_CACHE_DIR": str(default_cache_dir()),
            **more,
        },
    )


@pytest.mark.parametrize("environment", ["local", "cluster"])
def test_dry_run_is_as_agreed(environment: str) -> None:
    answers = [launch(job, "--dry-run", environment=environment) for job in JOBS]

    assert [answer.returncode for answer in answers] == [0] * len(JOBS), answers[0].stderr
    shown = "\n".join(answer.stdout for answer in answers)
    places = {default_cache_dir(): "CACHE", Path(sys.executable).parent: "BIN", Path.cwd(): "ROOT"}
    for path, name in places.items():
        shown = shown.replace(str(path), name)
    assert_golden(f"spark_submit_{environment}.txt", shown)


def test_a_project_of_relative_name_is_the_one_where_the_caller_stands(tmp_path: Path) -> None:
    shutil.copytree("conf", tmp_path / "conf")

    told = launch("ingest_events", "--dry-run", folder=tmp_path, AFTERCLICK_CONF_DIR="conf")

    assert f"spark.scheduler.allocation.file={tmp_path}/conf/fairscheduler.xml" in told.stdout, told.stderr


def test_jars_of_the_operator_take_the_place_of_packages() -> None:
    """A cluster without a way to Maven has them on its own disks."""
    jars = "/opt/jars/delta.jar,/opt/jars/kafka.jar"

    shown = launch("ingest_events", "--dry-run", environment="cluster", AFTERCLICK_SPARK__SPARK_JARS=jars).stdout

    assert f"--conf spark.jars={jars}" in shown
    assert "--packages" not in shown


@pytest.mark.parametrize("master", ["spark://host:7077", "yarn", "k8s://https://host:443"])
def test_master_is_the_operators(master: str) -> None:
    shown = launch("ingest_events", "--dry-run", environment="cluster", AFTERCLICK_MASTER=master).stdout

    assert f"--master {master} " in shown.replace("\\\n", "")


def test_unknown_job_is_wrong_use_and_lists_the_jobs() -> None:
    answer = launch("teleport")

    assert answer.returncode == 2
    assert all(job in answer.stderr for job in JOBS)


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--help",), 0)])
def test_usage(arguments: tuple[str, ...], code: int) -> None:
    assert launch(*arguments).returncode == code


def test_pack_library_holds_library_and_jobs(tmp_path: Path) -> None:
    sys.path.insert(0, "scripts")
    try:
        from spark_submit import pack_library
    finally:
        sys.path.remove("scripts")
    pack_library(tmp_path / "one.zip")
    pack_library(tmp_path / "two.zip")

    names = zipfile.ZipFile(tmp_path / "one.zip").namelist()
    assert {"afterclick/sessions.py", "jobs/build_sessions.py", "afterclick/local/jars.sha256"} <= set(names)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_properties_for_airflow_are_the_options_of_spark_submit(tmp_path: Path) -> None:
    sys.path.insert(0, "scripts")
    try:
        from spark_submit import submit_command, write_properties
    finally:
        sys.path.remove("scripts")
    write_properties("local", tmp_path / "spark.properties")
    lines = (tmp_path / "spark.properties").read_text(encoding="utf-8").replace("\\\\", "\\").splitlines()

    command = submit_command("train_model", [], "local", tmp_path / "lib.zip")

    value = {word: command[place + 1] for place, word in enumerate(command[:-1])}
    confs = {command[place + 1] for place, word in enumerate(command) if word == "--conf"}
    confs |= {f"spark.jars={value['--jars']}", f"spark.driver.extraClassPath={value['--driver-class-path']}"}
    assert set(lines) == confs
