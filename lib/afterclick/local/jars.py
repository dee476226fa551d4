"""The broker's and the connectors' jars: fetched once by the Ivy inside pyspark, checked by SHA-256."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from afterclick.errors import LocalStackError

ARTIFACTS = {
    "broker": [("org.apache.kafka", "kafka_2.13", "4.1.1")],
    "spark": [
        ("org.apache.spark", "spark-sql-kafka-0-10_2.13", "4.2.0"),
        ("io.delta", "delta-spark_4.2_2.13", "4.4.0"),
    ],
    # Hadoop's local file system without a fork of `chmod` for every file (docs/decisions/0006-local-files.md).
    "files": [("com.globalmentor", "hadoop-bare-naked-local-fs", "0.1.0")],
}
# pyspark ships these itself; a second version beside them breaks it in strange ways.
SHIPPED = (
    "aircompressor", "commons-logging", "commons-pool-1", "hadoop-client", "jackson", "javax", "jsr305", "log4j", "lz4",
    "parquet", "RoaringBitmap", "scala-", "shims", "slf4j", "snappy", "spark-tags", "zstd",
)  # fmt: skip


def default_cache_dir() -> Path:
    """``AFTERCLICK_CACHE_DIR`` or ``~/.cache/afterclick``; never inside the repository."""
    import os  # noqa: PLC0415

    return Path(os.environ.get("AFTERCLICK_CACHE_DIR") or Path.home() / ".cache" / "afterclick")  # noqa: TID251


def spark_jars(cache: Path) -> list[Path]:
    """Connector jars for ``spark.jars``.

    Raises
    ------
    LocalStackError
        If they have not been fetched: `ensure_jars` does.
    """
    return _jars(cache, "spark")


def file_system_jars(cache: Path) -> list[Path]:
    """Class path of ``spark.hadoop.fs.file.impl`` in ``conf/local.yaml``; raises as `spark_jars`."""
    return _jars(cache, "files")


def broker_jars(cache: Path) -> list[Path]:
    """Class path of the Kafka broker; raises as `spark_jars`."""
    return _jars(cache, "broker")


def ensure_jars(cache: Path, java_home: Path) -> None:
    """Fetch the jars that are absent and check all of them against the pinned sums.

    Raises
    ------
    LocalStackError
        If a download fails or a file differs from its pinned sum.
    """
    pinned = pinned_sums()
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("jars", total=len(pinned))
        for group, artifacts in ARTIFACTS.items():
            names = [name for name in pinned if name.startswith(f"{group}/")]
            if not names or not all((cache / "jars" / name).exists() for name in names):
                for artifact in artifacts:
                    progress.update(task, description=f"fetching {artifact[1]}")
                    _fetch(cache, group, artifact, java_home)
            for name in names:
                _check(cache / "jars" / name, pinned[name])
                progress.advance(task)


def pinned_sums() -> dict[str, str]:
    """SHA-256 by ``<group>/<file>``, from ``jars.sha256`` in ``sha256sum`` form."""
    text = (files("afterclick.local") / "jars.sha256").read_text(encoding="utf-8")
    return {name: digest for digest, name in (line.split() for line in text.splitlines() if line)}


def write_sums(cache: Path, target: Path) -> None:
    """Pin what is in the cache now (`make lock` after a change of `ARTIFACTS`)."""
    found = sorted((cache / "jars").glob("*/*.jar"))
    lines = [f"{sha256_of(jar)}  {jar.parent.name}/{jar.name}" for jar in found]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Digest of a file, as ``sha256sum`` prints it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _jars(cache: Path, group: str) -> list[Path]:
    expected = [cache / "jars" / name for name in pinned_sums() if name.startswith(f"{group}/")]
    if missing := [jar.name for jar in expected if not jar.exists()]:
        told = f"{len(missing)} of {len(expected)} {group} jars are not in {cache}/jars"
        message = f"{told} ({missing[0]} ...): run `make setup`"
        raise LocalStackError(message)
    return expected


def _fetch(cache: Path, group: str, artifact: tuple[str, str, str], java_home: Path) -> None:
    import pyspark  # noqa: PLC0415 - only a fetch needs it

    ivy = next((Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar"))
    folder = cache / "jars" / group
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as fresh:
        command = [str(java_home / "bin" / "java"), "-jar", str(ivy), "-cache", str(cache / "ivy"), "-confs", "default"]
        command += ["-dependency", *artifact, "-retrieve", f"{fresh}/[artifact]-[revision](-[classifier]).[ext]"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pyspark's own Ivy
        jars = sorted(Path(fresh).glob("*.jar"))
        if done.returncode or not jars:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
            told = f"could not fetch {':'.join(artifact)} (exit {done.returncode}). Is the network there?"
            message = f"{told} Ivy said:\n{tail}"
            raise LocalStackError(message)
        for jar in jars:
            if group == "broker" or not jar.name.startswith(SHIPPED):
                shutil.move(jar, folder / jar.name)


def _check(jar: Path, expected: str) -> None:
    if not jar.exists():
        message = f"{jar} was not among the fetched jars: `jars.sha256` and `ARTIFACTS` disagree; pin them anew"
        raise LocalStackError(message)
    if (actual := sha256_of(jar)) != expected:
        message = f"{jar} has SHA-256 {actual}, pinned is {expected}. Delete the file and run `make setup` again."
        raise LocalStackError(message)


def main() -> int:
    """``python -m afterclick.local.jars [--pin]``: fetch and check, or pin what was fetched."""
    from afterclick.local.java import find_java  # noqa: PLC0415

    cache = default_cache_dir()
    ensure_jars(cache, find_java(cache))
    if "--pin" in sys.argv:
        write_sums(cache, Path(__file__).with_name("jars.sha256"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
