"""Each alert fires under its own fault, caused for real, and clears when that is mended; every dashboard has data meanwhile."""

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import pytest
import yaml

from afterclick.local.jars import broker_jars, default_cache_dir
from afterclick.local.java import find_java
from afterclick.local.kafka import start_kafka
from afterclick.local.processes import kill_process
from afterclick.local.stack import start_stack, stop_stack
from afterclick.local.valkey import start_valkey
from afterclick.settings import Settings, load_settings
from integration.test_dashboards import DASHBOARDS, has_data, queries
from nightly import NIGHTLY
from watched_stack import (
    GO_ON,
    OVERDUE_S,
    RESTARTS_S,
    RULES,
    STOP,
    WatchedStack,
    produce,
    run_job,
    traffic,
    wait_until,
    watched,
)

pytestmark = [NIGHTLY, pytest.mark.timeout(3600)]
RECENT, OLD = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-new", "20260101T000000-old"
DEFECT = """
import sys
from jobs import ingest_events, run_streams
decide = ingest_events.decide_fates
def lose_one(*batch, **more):
    decided = decide(*batch, **more)
    decided.fates.counts["consumed"] += 1
    return decided
ingest_events.decide_fates = lose_one
sys.exit(run_streams.main(["--queries", "ingest_events", "build_sessions"]))
"""
"""A message without a fate: no setting causes it, so this starts the streams with a planted mistake."""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Settings]:
    start_stack(tmp_path)
    variables = {
        "AFTERCLICK_STATE_DIR": str(tmp_path),
        "AFTERCLICK_STREAMS__BULK_TRIGGER_SECONDS": "1",
        "AFTERCLICK_QUALITY__SAMPLE_ROWS": "0",
        "AFTERCLICK_COLLECTOR__DELIVERY_TIMEOUT_SECONDS": "2",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield load_settings("local", variables=dict(os.environ))  # noqa: TID251
    stop_stack(tmp_path)


def test_every_alert_fires_under_its_fault_and_clears_after(here: Settings) -> None:
    with watched(here) as stack:
        stack.serve_model(RECENT)
        for part in ("collector", "serve", "fast", "bulk"):
            stack.start(part)
        with traffic(here):
            dashboards_have_data(stack)
            wait_until(lambda: not stack.firing(), 240, lambda: f"without a fault: {stack.firing()}")
            for fault in (
                old_model, much_rejected, broker_away, store_away, stream_killed, stream_again_and_again, stream_frozen,
                defect_and_lag, services_killed, nobody_reads_text_files, jobs,
            ):  # fmt: skip
                begun = time.monotonic()
                fault(stack)
                print(f"{fault.__name__} {time.monotonic() - begun:.0f} s")  # noqa: T201

    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert stack.seen == stack.cleared == alerts


def dashboards_have_data(stack: WatchedStack) -> None:
    missing = {query for path in DASHBOARDS for query in queries(path)}

    def all_have() -> bool:
        missing.difference_update([query for query in missing if has_data(stack.prometheus, query)])
        return not missing

    wait_until(all_have, 300, lambda: f"no data: {missing}")


def old_model(stack: WatchedStack) -> None:
    with stack.fault("ModelOld") as fires:
        stack.serve_model(OLD)
        fires()
        stack.serve_model(RECENT)


def much_rejected(stack: WatchedStack) -> None:
    with stack.fault("ManyRejected") as fires:
        spoiling = threading.Thread(
            target=partial(produce, stack.settings, 400, spoilt=True, per_second=20), daemon=True
        )
        spoiling.start()
        fires()
        spoiling.join()


def broker_away(stack: WatchedStack) -> None:
    folder, cache = stack.settings.state_dir, default_cache_dir()
    port = int(stack.settings.kafka.bootstrap_servers.rsplit(":", 1)[1])
    with stack.fault("CollectorUnavailable") as fires:
        kill_process(folder, "kafka")
        fires()
        start_kafka(folder, broker_jars(cache), find_java(cache), port=port)
    restart_what_ended(stack)


def store_away(stack: WatchedStack) -> None:
    """Let the stream end with an error, its Java stopped just then, so that it hangs on the way out; then it is down."""
    settings, fast = stack.settings, stack.running["fast"]
    port = int(settings.redis.url.get_secret_value().rsplit(":", 1)[1].split("/")[0])
    java = stack.java_of("fast")
    with stack.fault("JobDown", "JobFailed") as fires_after:
        with stack.fault("ServedWithoutStore", "QueryEnded") as fires:
            kill_process(settings.state_dir, "valkey")
            wait_until(lambda: "query failed" in fast.log.read_text(), 120, lambda: "the stream goes on without Redis")
            os.kill(java.pid, STOP)
            fires()
            os.kill(java.pid, GO_ON)
            start_valkey(settings.state_dir, port=port)
            assert fast.process.wait(timeout=120) == 1
            stack.serve_model(RECENT)
        fires_after()
        restart_what_ended(stack)


def stream_killed(stack: WatchedStack) -> None:
    with stack.fault("JobDown", "ListsStandStill") as fires:
        stack.kill("fast")
        fires()
        stack.start("fast")


def stream_again_and_again(stack: WatchedStack) -> None:
    with stack.fault("StreamRestarts", seconds=2 * RESTARTS_S) as fires:
        for _ in range(4):
            stack.kill("fast")
            stack.start("fast")
        fires()


def services_killed(stack: WatchedStack) -> None:
    for part, alert in (("collector", "CollectorDown"), ("serve", "ServingDown")):
        with stack.fault(alert) as fires:
            stack.kill(part)
            fires()
            stack.start(part)


def nobody_reads_text_files(stack: WatchedStack) -> None:
    with stack.fault("NodeExporterDown") as fires:
        kill_process(stack.settings.state_dir, "node")
        fires()
        stack.start_node_exporter()


def stream_frozen(stack: WatchedStack) -> None:
    with stack.fault("FreshnessBudgetBurnsFast", "FreshnessBudgetBurnsSlowly") as fires:
        stack.freeze("fast", STOP)
        time.sleep(5)
        stack.freeze("fast", GO_ON)
        fires()


def defect_and_lag(stack: WatchedStack) -> None:
    """Streams that take fifty messages a batch and miscount them, while more come than they take."""
    with stack.fault("LedgerImbalance", "LagGrows") as fires:
        stack.stop("bulk")
        stack.start("bulk", ["-c", DEFECT], {"AFTERCLICK_KAFKA__BULK_MAX_OFFSETS_PER_TRIGGER": "50"})
        produce(stack.settings, 12_000, spoilt=False)
        more = threading.Thread(
            target=partial(produce, stack.settings, 6_000, spoilt=False, per_second=200), daemon=True
        )
        more.start()
        fires()
        stack.stop("bulk")
        stack.start("bulk")
        more.join()


def jobs(stack: WatchedStack) -> None:
    with stack.fault("JobFailed") as fires:
        assert run_job(stack.settings, "jobs.warm_cache", "--version", "nonsense") != 0
        fires()
        assert run_job(stack.settings, "jobs.warm_cache", "--no-switch", "--version", RECENT) == 0
    with stack.fault("JobOverdue", seconds=OVERDUE_S + 120) as fires:
        fires()
        assert run_job(stack.settings, "jobs.warm_cache", "--no-switch", "--version", RECENT) == 0


def restart_what_ended(stack: WatchedStack) -> None:
    """Do what a scheduler does."""
    for name, service in list(stack.running.items()):
        if service.process.poll() is not None:
            stack.kill(name)
            stack.start(name)
    httpx.get(f"{stack.settings.collector.base_url}/health/ready", timeout=30.0)
