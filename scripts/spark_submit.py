"""Pack the library, write the spark-submit command, and run it; `spark-submit.sh` calls this."""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "lib"))

from afterclick.local.jars import ARTIFACTS, default_cache_dir, file_system_jars, spark_jars  # noqa: E402
from afterclick.local.java import find_java  # noqa: E402
from afterclick.settings import load_spark_conf  # noqa: E402


def main() -> int:
    """Print or run the command of one job."""
    parser = argparse.ArgumentParser(prog="spark-submit.sh", description=__doc__)
    parser.add_argument("job", help="a job, or `pack`: only write the library and Spark's properties, for Airflow")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the command, one option a line, and start nothing"
    )
    arguments, rest = parser.parse_known_args()
    environment = os.environ.get("AFTERCLICK_ENVIRONMENT", "local")  # noqa: TID251 - this is the launcher
    archive = ROOT / "dist" / "afterclick-lib.zip"
    if arguments.job == "pack":
        pack_library(archive)
        write_properties(environment, archive.with_name(f"spark-{environment}.properties"))
        return 0
    command = submit_command(arguments.job, rest, environment, archive)
    if arguments.dry_run:
        print(" \\\n  ".join(_grouped(command)))  # noqa: T201 - the answer
        return 0
    pack_library(archive)
    java = {"JAVA_HOME": str(find_java(default_cache_dir()))} if environment == "local" else {}
    return subprocess.call(command, env={**os.environ, **java, "PYSPARK_PYTHON": python()})  # noqa: S603, TID251


def submit_command(job: str, rest: list[str], environment: str, archive: Path) -> list[str]:
    """Return the spark-submit command line of a job."""
    conf = load_spark_conf(environment)
    master = os.environ.get("AFTERCLICK_MASTER") or conf.pop("spark.master", "")  # noqa: TID251
    conf.pop("spark.master", None)
    command = [submit_program(), *(["--master", master] if master else []), "--name", job]
    command += ["--py-files", str(archive), *connector_options(environment, conf)]
    for key, value in sorted(with_library_path(conf, environment).items()):
        command += ["--conf", f"{key}={value}"]
    return [*command, str(ROOT / "jobs" / f"{job}.py"), "--environment", environment, *rest]


def connector_options(environment: str, conf: Mapping[str, str]) -> list[str]:
    """Return the connectors: fetched jars on one machine, coordinates on a cluster unless `conf` names jars itself."""
    if "spark.jars" in conf:
        return []
    if environment == "local":
        cache = default_cache_dir()
        files = ":".join(map(str, file_system_jars(cache)))
        return ["--jars", ",".join(map(str, spark_jars(cache))), "--driver-class-path", files]
    return ["--packages", ",".join(":".join(artifact) for artifact in ARTIFACTS["spark"])]


def write_properties(environment: str, file: Path) -> None:
    """Write what `submit_command` gives as options, without the master, as a properties file."""
    conf = with_library_path(load_spark_conf(environment), environment)
    conf.pop("spark.master", None)
    names = {
        "--jars": "spark.jars",
        "--packages": "spark.jars.packages",
        "--driver-class-path": "spark.driver.extraClassPath",
    }
    options = connector_options(environment, conf)
    conf |= {names[option]: value for option, value in zip(options[::2], options[1::2], strict=True)}
    lines = [f"{key}={value}".replace("\\", "\\\\") for key, value in sorted(conf.items())]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def with_library_path(conf: Mapping[str, str], environment: str) -> dict[str, str]:
    """Add what executors need: the environment's name."""
    return {**conf, "spark.executorEnv.AFTERCLICK_ENVIRONMENT": environment}


def pack_library(archive: Path) -> None:
    """Write `lib` and `jobs` into one zip; the same files give the same bytes, and no job that starts beside us sees half."""
    archive.parent.mkdir(exist_ok=True)
    part = archive.with_suffix(f".{os.getpid()}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as packed:
        for folder, base in ((ROOT / "lib" / "afterclick", ROOT / "lib"), (ROOT / "jobs", ROOT)):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    entry = zipfile.ZipInfo(str(path.relative_to(base)), (2020, 1, 1, 0, 0, 0))
                    packed.writestr(entry, path.read_bytes())
    part.replace(archive)


def submit_program() -> str:
    """Return the spark-submit to use: SPARK_SUBMIT, the one on PATH, or pyspark's own."""
    chosen = os.environ.get("SPARK_SUBMIT") or shutil.which("spark-submit")  # noqa: TID251
    beside = Path(sys.executable).with_name("spark-submit")
    return str(beside) if beside.exists() and not os.environ.get("SPARK_SUBMIT") else chosen or "spark-submit"  # noqa: TID251


def python() -> str:
    """Return the interpreter of driver and local workers."""
    return os.environ.get("PYSPARK_PYTHON", sys.executable)  # noqa: TID251


def _grouped(command: list[str]) -> list[str]:
    """Return the command with each option beside its value."""
    lines: list[str] = []
    for part in map(shlex.quote, command):
        if lines and lines[-1].startswith("--") and " " not in lines[-1]:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


if __name__ == "__main__":
    sys.exit(main())
