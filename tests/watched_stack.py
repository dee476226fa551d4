"""A whole installation with a real Prometheus on it: every part is a process that can be ended, stopped and started."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from kafka import KafkaProducer

from afterclick.connectors import model_registry, redis_store
from afterclick.faults.load import GRANTED, LoadPlan, good_message
from afterclick.local import services
from afterclick.local.processes import free_port, start_process, stop_process, wait_for_port
from afterclick.served_model import model_folder, read_recommender
from afterclick.settings import Settings
from builders import NOW, make_model
from needed_programs import needs

RULES = Path("conf/monitoring/rules.yaml")
DEBIAN = "apt-get install prometheus"
FACTOR, LEAST_WINDOW_S, LEAST_FOR_S = 360, 5, 1
OVERDUE_S, RESTARTS_S = 30, 300
"""Instead of 36 hours, and of the half hour in which starts of a stream are counted: a start takes its time."""
_STARTS = '.*"}[30m]'
"""The window in which starts of a stream are counted."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
STREAMS = {"fast": ["update_recommendations"], "bulk": ["ingest_events", "build_sessions"]}


def shortened(rules: str) -> str:
    """Return the alert rules with every window and ``for`` divided by `FACTOR`, and two by seconds of their own.

    A test cannot wait three days; expressions and thresholds stay as they are.
    """

    def shorter(found: re.Match[str]) -> str:
        least = LEAST_FOR_S if found[1] == "for: " else LEAST_WINDOW_S
        return f"{found[1]}{max(least, round(int(found[2]) * _UNITS[found[3]] / FACTOR))}s"

    assert "36 * 3600" in rules
    assert rules.count(_STARTS) == 1
    rules = rules.replace(_STARTS, f'.*"}}[{RESTARTS_S * FACTOR}s]')
    return re.sub(r"(\[|for: )(\d+)([smhd])", shorter, rules).replace("36 * 3600", str(OVERDUE_S))


@dataclass
class WatchedStack:
    """A running installation; `alerts` asks Prometheus."""

    settings: Settings
    prometheus: int
    node: int
    running: dict[str, services.Service] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    cleared: set[str] = field(default_factory=set)

    def start(self, name: str, arguments: Sequence[str] = (), variables: Mapping[str, str] | None = None) -> None:
        """Start a part and wait until it works; streams by `STREAMS`."""
        more = {"AFTERCLICK_SPARK__SPARK.DRIVER.MEMORY": "1g", **(variables or {})}
        queries = STREAMS.get(name, [])
        command = arguments or (
            ["-m", "jobs.run_streams", "--queries", *queries] if queries else ["-m", "afterclick.cli", name]
        )
        log = self.settings.state_dir / "logs" / f"{name}.log"
        log.unlink(missing_ok=True)
        service = self.running[name] = services.start_service(name, command, self.settings, variables=more)
        if queries:
            services.wait_until_logged(service, [f"query started name={query}" for query in queries], seconds=300)
        else:
            url = self.settings.collector.base_url if name == "collector" else self.settings.serving.base_url
            services.wait_until_ready(service, f"{url}/health/ready", seconds=120)

    def stop(self, name: str) -> None:
        """End a part as an operator does."""
        services.stop_service(self.running.pop(name))

    def kill(self, name: str) -> None:
        """End a part by SIGKILL."""
        services.kill_service(self.running.pop(name))

    def java_of(self, name: str) -> psutil.Process:
        """Return the Java of a stream."""
        children = psutil.Process(self.running[name].process.pid).children(recursive=True)
        return next(child for child in children if "java" in child.name())

    def freeze(self, name: str, number: int) -> None:
        """Send SIGSTOP or SIGCONT to a part and its Java."""
        for process in (psutil.Process(self.running[name].process.pid), self.java_of(name)):
            os.kill(process.pid, number)

    def start_node_exporter(self) -> None:
        """Start what reads the text files that jobs leave."""
        folder = self.settings.state_dir
        command = [
            needs("prometheus-node-exporter", install=DEBIAN),
            "--collector.disable-defaults",
            "--collector.textfile",
        ]
        command += [f"--collector.textfile.directory={folder}/metrics", f"--web.listen-address=127.0.0.1:{self.node}"]
        start_process("node", command, folder)
        wait_for_port("node", self.node, folder)

    def serve_model(self, version: str) -> None:
        """Serve a small model of that version; the registry has it."""
        if not model_folder(self.settings, version).exists():
            client, model = model_registry.open_registry(self.settings), make_model(items=30, version=version)
            model_registry.register_model(client, self.settings, model, parameters={}, metrics={})
        store = redis_store.connect(self.settings.redis)
        store.write_popular(read_recommender(self.settings, version).popular(1))
        store.switch_version(version)

    def firing(self) -> set[str]:
        """Return the alerts that fire now."""
        answer = httpx.get(f"http://127.0.0.1:{self.prometheus}/api/v1/alerts", timeout=10.0).json()
        return {one["labels"]["alertname"] for one in answer["data"]["alerts"] if one["state"] == "firing"}

    @contextmanager
    def fault(self, *alerts: str, seconds: float = 240.0) -> Iterator[Callable[[], None]]:
        """Give what waits until all `alerts` fire; on leaving wait until none of them does."""
        wanted = {f"Afterclick{alert}" for alert in alerts}
        wait_until(lambda: not wanted & self.firing(), seconds, lambda: f"{wanted & self.firing()} before their fault")

        def wait() -> None:
            caught: set[str] = set()

            def fired() -> bool:
                caught.update(wanted & self.firing())
                return caught == wanted

            wait_until(fired, seconds, lambda: f"{wanted - caught} did not fire")
            self.seen.update(wanted)

        yield wait
        assert wanted <= self.seen
        wait_until(lambda: not wanted & self.firing(), seconds, lambda: f"{wanted & self.firing()} did not clear")
        self.cleared.update(wanted)


@contextmanager
def watched(settings: Settings) -> Iterator[WatchedStack]:
    """Start node exporter and Prometheus beside an installation; end everything on leaving."""
    folder, node, port = settings.state_dir, free_port(), free_port()
    (folder / "metrics").mkdir(exist_ok=True)
    (folder / "rules.yaml").write_text(shortened(RULES.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(_configuration(settings, node)), encoding="utf-8")
    stack = WatchedStack(settings, port, node)
    try:
        stack.start_node_exporter()
        command = [
            needs("prometheus", install=DEBIAN),
            f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/tsdb",
        ]
        start_process("prometheus", [*command, f"--web.listen-address=127.0.0.1:{port}"], folder)
        wait_for_port("prometheus", port, folder)
        yield stack
    finally:
        services.stop_services(list(stack.running.values()))
        for name in ("prometheus", "node"):
            stop_process(folder, name)


def _configuration(settings: Settings, node: int) -> dict[str, Any]:
    """Return ours with these addresses and every second."""
    text = Path("conf/monitoring/prometheus.yaml").read_text(encoding="utf-8")
    places = {
        "../../.afterclick/metrics": f"{settings.metrics.discovery_dir}",
        "127.0.0.1:9100": f"127.0.0.1:{node}",
        "refresh_interval: 30s": "refresh_interval: 2s",
    }
    for ours, here in places.items():
        assert ours in text
        text = text.replace(ours, here)
    return dict(yaml.safe_load(re.sub(r"(scrape|evaluation)_interval: \d+s", r"\1_interval: 1s", text)))


@contextmanager
def traffic(settings: Settings) -> Iterator[None]:
    """Events of people and of some without consent, wrong keys, and lists asked for, ten times a second until left."""
    ended = threading.Event()
    thread = threading.Thread(target=_keep_busy, args=(settings, ended), daemon=True)
    thread.start()
    yield
    ended.set()
    thread.join(timeout=30)


def _keep_busy(settings: Settings, ended: threading.Event) -> None:
    key = settings.collector.write_keys[0].get_secret_value()
    with httpx.Client(timeout=5.0) as client:
        number = 0
        while not ended.wait(0.1):
            number += 1
            event = {
                "userId": f"person-{number % 9}", "event": "Product Viewed", "properties": {"product_id": f"item-{number % 30}"},
                "context": {"consent": GRANTED} if number % 10 else {},
            }  # fmt: skip
            with suppress(httpx.HTTPError):
                client.post(f"{settings.collector.base_url}/v1/track", json=event, auth=(key, ""))
            with suppress(httpx.HTTPError):
                client.get(f"{settings.serving.base_url}/v1/recommendations/person-{number % 12}")
            if number % 10 == 0:
                with suppress(httpx.HTTPError):
                    client.post(f"{settings.collector.base_url}/v1/track", json=event, auth=("wrong", ""))


def produce(settings: Settings, count: int, *, spoilt: bool, per_second: float = 0.0) -> None:
    """Write messages to Kafka past the collector: well-formed ones, or bytes that are no event."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, acks="all")
    plan = LoadPlan(count, int(time.time()), NOW)
    for number in range(count):
        value = b"\xff" if spoilt else json.dumps(good_message(number % 50_000, plan)).encode()
        producer.send(settings.kafka.events_topic, value=value, key=b"%d" % number)
        if per_second:
            time.sleep(1 / per_second)
    producer.flush()
    producer.close()


def run_job(settings: Settings, *arguments: str) -> int:
    """Run a job to its end and return its exit code."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", *arguments], env=services.child_environment(settings), capture_output=True, check=False
    )
    return done.returncode


def wait_until(is_true: Callable[[], bool], seconds: float, told: Callable[[], str]) -> None:
    """Wait; fail with what is told after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            pytest.fail(told())
        time.sleep(0.3)


STOP, GO_ON = signal.SIGSTOP, signal.SIGCONT
