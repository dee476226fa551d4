"""A real Spark cluster on loopback: one master, some workers, applications submitted to it as by an operator."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyspark

from afterclick.errors import LocalStackError
from afterclick.local.jars import default_cache_dir
from afterclick.local.java import find_java
from afterclick.local.processes import free_port, running_pid, start_process, stop_process, wait_for_port
from afterclick.local.services import Service

CORES, MEMORY = 3, "4g"
"""Of each worker: one executor of each of the three streams, and room for those of a lost worker."""


@dataclass(frozen=True)
class StandaloneCluster:
    """A running cluster; `folder` has logs, pid files and the executors' work."""

    master: str
    folder: Path
    workers: tuple[str, ...]

    def kill_worker(self, name: str) -> list[int]:
        """End a worker and its executors by SIGKILL, as the loss of its machine would; return what died."""
        pid = running_pid(self.folder, name)
        if pid is None:
            message = f"{name} does not run: {self.folder}/logs/{name}.log"
            raise LocalStackError(message)
        dead = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        for one in dead:
            os.kill(one, signal.SIGKILL)
        return dead


@contextmanager
def standalone_cluster(folder: Path, workers: int = 2) -> Iterator[StandaloneCluster]:
    """Start Spark's own master and worker classes on free loopback ports and end them by their pids."""
    port = free_port()
    cluster = StandaloneCluster(
        f"spark://127.0.0.1:{port}", folder, tuple(f"worker-{number}" for number in range(workers))
    )
    try:
        _start(folder, "master", ["--port", str(port)])
        wait_for_port("master", port, folder)
        for name in cluster.workers:
            own = free_port()
            options = ["--port", str(own), "--cores", str(CORES), "--memory", MEMORY, "--work-dir", f"{folder}/{name}"]
            _start(folder, name, [*options, cluster.master])
            wait_for_port(name, own, folder)
        yield cluster
    finally:
        for name in (*cluster.workers, "master"):
            stop_process(folder, name)


def _start(folder: Path, name: str, options: list[str]) -> None:
    kind = name.split("-", maxsplit=1)[0].capitalize()
    program = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
    command = [program, f"org.apache.spark.deploy.{kind.lower()}.{kind}", "--host", "127.0.0.1"]
    variables = {**_java(), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m"}
    start_process(name, [*command, "--webui-port", str(free_port()), *options], folder, variables=variables)


def submit(job: str, cluster: StandaloneCluster, variables: Mapping[str, str]) -> Service:
    """Start `job` by ``./spark-submit.sh`` as an application of its own with its driver here."""
    log = cluster.folder / "logs" / f"{job}.log"
    environment = {
        **os.environ, **_java(), **variables,  # noqa: TID251 - handed on
        "AFTERCLICK_ENVIRONMENT": "cluster", "AFTERCLICK_MASTER": cluster.master,
        "PYTHON": sys.executable, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1",
    }  # fmt: skip
    with log.open("ab") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own launcher
            ["./spark-submit.sh", job], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment,
            process_group=0,
        )  # fmt: skip
    return Service(job, process, log)


def _java() -> dict[str, str]:
    return {"JAVA_HOME": str(find_java(default_cache_dir()))}
