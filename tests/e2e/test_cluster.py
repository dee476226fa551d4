"""A standalone master, two workers, three applications: a worker dies in the middle, and every event has its fate once."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from afterclick.connectors.checkpoints import end_offsets
from afterclick.connectors.ledger import FAULTS, check_ledger
from afterclick.faults import joins
from afterclick.faults.client import LoadLedger, send_load
from afterclick.faults.load import LoadPlan, plan_deliveries
from afterclick.faults.rebuild import last_commit, wait_until_drained
from afterclick.faults.run import QUERIES, serve_a_model
from afterclick.local import services
from afterclick.local.jars import default_cache_dir, spark_jars
from afterclick.local.java import SHORT_LIVED
from afterclick.local.stack import start_stack, stop_stack
from afterclick.settings import Settings, load_settings
from afterclick.spark_session import build_spark
from nightly import NIGHTLY
from standalone_cluster import StandaloneCluster, standalone_cluster, submit

EVENTS = int(os.environ.get("AFTERCLICK_CLUSTER_EVENTS", "100000"))  # noqa: TID251
pytestmark = [NIGHTLY, pytest.mark.timeout(7200)]

SMALL = {
    "AFTERCLICK_SPARK__SPARK_DRIVER_MEMORY": "1g",
    "AFTERCLICK_SPARK__SPARK_EXECUTOR_CORES": "1",
    "AFTERCLICK_SPARK__SPARK_EXECUTOR_MEMORY": "640m",
    "AFTERCLICK_SPARK__spark.cores.max": "2",  # an executor on each worker
    "AFTERCLICK_SPARK__SPARK_SQL_SHUFFLE_PARTITIONS": "4",
    "AFTERCLICK_SPARK__SPARK_UI_ENABLED": "false",
    "AFTERCLICK_SPARK__spark.databricks.delta.snapshotPartitions": "2",
    "AFTERCLICK_SPARK__spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    "AFTERCLICK_QUALITY__SAMPLE_ROWS": "0",  # Great Expectations loads for seconds, again after the loss
    **SHORT_LIVED,
    "AFTERCLICK_SPARK__spark.driver.host": "127.0.0.1",
    "AFTERCLICK_SPARK__spark.driver.bindAddress": "127.0.0.1",
    "AFTERCLICK_RECOMMENDATIONS__DRIVER_ROWS": "200",  # larger batches of lists go to executors too
    "AFTERCLICK_STREAMS__BULK_TRIGGER_SECONDS": "5",
    "AFTERCLICK_KAFKA__MAX_OFFSETS_PER_TRIGGER": "10000",
    "AFTERCLICK_KAFKA__BULK_MAX_OFFSETS_PER_TRIGGER": "10000",
}
"""What a machine of two cores needs other than ``conf/cluster.yaml`` says."""


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Settings]:
    """Kafka and Valkey with settings that point at them."""
    start_stack(tmp_path)
    variables = {"AFTERCLICK_STATE_DIR": str(tmp_path), "AFTERCLICK_STREAMS__BULK_TRIGGER_SECONDS": "5"}
    yield load_settings("local", variables={**os.environ, **variables})  # noqa: TID251
    stop_stack(tmp_path)


def cluster_variables(settings: Settings) -> dict[str, str]:
    """Return what ``conf/cluster.yaml`` leaves to the operator: addresses, places and secrets."""
    return {
        **SMALL,
        "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "AFTERCLICK_REDIS__URL": settings.redis.url.get_secret_value(),
        "AFTERCLICK_STORAGE__TABLES": settings.storage.tables,
        "AFTERCLICK_STORAGE__CHECKPOINTS": settings.storage.checkpoints,
        "AFTERCLICK_STORAGE__MODELS": settings.storage.models,
        "AFTERCLICK_TRIGGERS__RULES": str(Path("conf/triggers.yaml").resolve()),
        "AFTERCLICK_MODEL__TRACKING_URI": settings.model.tracking_uri.get_secret_value(),
        "AFTERCLICK_PRIVACY__SUBJECT_STORE": settings.privacy.subject_store.get_secret_value(),
        "AFTERCLICK_PRIVACY__PSEUDONYM_KEY": settings.privacy.pseudonym_key.get_secret_value(),
    }


def test_a_lost_worker_loses_and_doubles_nothing(local: Settings, tmp_path: Path) -> None:
    plan = LoadPlan(EVENTS, 10, datetime.now(UTC) - timedelta(days=20))
    serve_a_model(local, plan)
    ledger = LoadLedger()
    with ExitStack() as ending:
        cluster = ending.enter_context(standalone_cluster(tmp_path / "cluster"))
        running = [services.start_service("collector", ["-m", "afterclick.cli", "collector"], local)]
        ending.enter_context(services.stopping(running))
        services.wait_until_ready(running[0], f"{local.collector.base_url}/health/ready")
        applications = Applications(cluster, cluster_variables(local))
        ending.callback(applications.stop)
        applications.start()
        loss = Loss(cluster, local, ledger)
        loss.start()
        ending.callback(loss.stop)

        asyncio.run(send_load(local, plan, plan_deliveries(plan), ledger, lambda: 1.0))
        wait_until_drained(local, QUERIES, seconds=900.0)

        assert loss.at > 0.4 * EVENTS
        assert len(loss.died) > 3  # the worker and an executor of each application
        assert all(last_commit(local, query) > loss.committed[query] for query in QUERIES)
        lost = {query: "worker lost" in applications.log(query) for query in QUERIES}
    figures = judged(local, ledger) | {"died": len(loss.died), "at": loss.at, "restarts": applications.restarts}
    print(json.dumps(figures))  # noqa: T201 - a nightly run is read by people
    assert lost == dict.fromkeys(QUERIES, True)
    assert figures["acked"] == EVENTS
    assert {name: figures[name] for name in ("lost", "doubled", "invented", "misfiled", "overlap", "imbalance")} == {
        "lost": 0, "doubled": 0, "invented": 0, "misfiled": 0, "overlap": 0, "imbalance": 0,
    }  # fmt: skip
    assert figures["sessions"] > EVENTS / 100


class Applications:
    """The three streams, each an application of its own; started again when one ends, as a scheduler does."""

    def __init__(self, cluster: StandaloneCluster, variables: Mapping[str, str]) -> None:
        self._submit = partial(submit, cluster=cluster, variables=variables)
        self._running: dict[str, services.Service] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self.restarts: list[str] = []

    def start(self) -> None:
        """Submit them and wait until each listens."""
        for number, query in enumerate(QUERIES):
            self._running[query] = self._submit(query)
            if number == 0:  # it fetches the connectors: Ivy's cache bears one writer
                services.wait_until_logged(self._running[query], [f"query started name={query}"], seconds=900)
        for query, application in self._running.items():
            services.wait_until_logged(application, [f"query started name={query}"], seconds=900)
        self._thread.start()

    def stop(self) -> None:
        """End them as a crash would: what they do is committed, or will be done again."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=60)
        for application in self._running.values():
            services.kill_service(application)

    def log(self, query: str) -> str:
        """Return what an application has said."""
        return self._running[query].log.read_text(encoding="utf-8", errors="replace")

    def _keep(self) -> None:
        while not self._stopping.wait(0.5):
            for query, application in list(self._running.items()):
                if application.process.poll() is not None:
                    self.restarts.append(query)
                    services.kill_service(application)
                    self._running[query] = self._submit(query)


class Loss(threading.Thread):
    """Kills the first worker once half of the events are acknowledged."""

    def __init__(self, cluster: StandaloneCluster, settings: Settings, ledger: LoadLedger) -> None:
        super().__init__(daemon=True)
        self._cluster, self._settings, self._ledger = cluster, settings, ledger
        self._stopping = threading.Event()
        self.at = 0
        self.died: list[int] = []
        self.committed: dict[str, int] = {}

    def run(self) -> None:
        """Wait for the middle."""
        while len(self._ledger.acked) < EVENTS / 2:
            if self._stopping.wait(0.1):
                return
        self.committed = {query: last_commit(self._settings, query) for query in QUERIES}
        self.at, self.died = len(self._ledger.acked), self._cluster.kill_worker(self._cluster.workers[0])

    def stop(self) -> None:
        """Give up waiting."""
        self._stopping.set()
        self.join(timeout=20)


def judged(settings: Settings, ledger: LoadLedger) -> dict[str, Any]:
    """Join what was acknowledged with the tables, as `faults.verdict.judge`, without building them again."""
    begun = time.monotonic()
    spark = build_spark("verdict", settings.spark, jars=spark_jars(default_cache_dir()))
    try:
        events, quarantine = joins.join_events(spark, settings, ledger), joins.join_quarantine(spark, settings, ledger)
        sessions, balance = joins.join_sessions(spark, settings), check_ledger(spark, settings)
        rows = {name: count for name, (count, _) in joins.table_hashes(spark, settings).items()}
    finally:
        spark.stop()
    total = sum(end_offsets(settings.kafka.bootstrap_servers, settings.kafka.events_topic).values())
    counted = {name: events[name] + quarantine[name] for name in ("lost", "doubled", "invented", "misfiled")}
    return {
        "acked": len(ledger.acked), "sent": ledger.sent, **counted, "overlap": sessions["overlap"],
        "doubled": counted["doubled"] + sessions["doubled"],
        "imbalance": sum(balance[name] for name in FAULTS) + abs(total - balance["consumed"]),
        **rows, "duplicates": balance["duplicates"], "judged_s": round(time.monotonic() - begun, 1),
    }  # fmt: skip
