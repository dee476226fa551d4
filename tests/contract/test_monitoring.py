"""Alert rules and dashboards ask only for what our code exports; each alert fires under its fault and clears."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, generate_latest

from afterclick.collector.ingest import Metrics
from afterclick.job_metrics import FRESHNESS_BOUNDS, JobMetrics, RunMetrics
from afterclick.job_runner import STREAMS
from afterclick.serving.app import create_app
from afterclick.settings import Settings

FOLDER = Path("conf/monitoring")
DASHBOARDS = sorted(FOLDER.glob("grafana/dashboards/*.json"))
PARTS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


@pytest.fixture
def exported(settings: Settings) -> dict[str, set[str]]:
    """Name every sample that our code exports."""
    registries = (JobMetrics().registry, RunMetrics().registry, Metrics().registry)
    texts = [*map(_text, registries), TestClient(create_app(settings)).get("/metrics").text]
    kinds = dict(pair for text in texts for pair in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    return {"samples": {name + part for name, kind in kinds.items() for part in PARTS[kind]}, "families": set(kinds)}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def queries(dashboard: Path) -> list[str]:
    panels = json.loads(dashboard.read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def named(expressions: Iterable[str]) -> set[str]:
    without_labels = (re.sub(r'"[^"]*"', "", expression) for expression in expressions)
    return {name for text in without_labels for name in re.findall(r"\bafterclick[\w:]+", text)}


def test_rules_ask_for_metrics_that_exist(exported: dict[str, set[str]]) -> None:
    assert named(rule["expr"] for rule in rules()) - recorded() <= exported["samples"]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_asks_for_metrics_that_exist(dashboard: Path, exported: dict[str, set[str]]) -> None:
    asked = named(queries(dashboard))

    assert asked
    assert asked - recorded() <= exported["samples"]


def test_names_and_units_follow_the_convention(exported: dict[str, set[str]]) -> None:
    """Prometheus' naming page: a prefix, base units in the plural, ``_total`` for counters (the client adds it)."""
    for name in exported["families"]:
        assert re.fullmatch(r"afterclick_[a-z][a-z0-9_]*[a-z]", name), name
        assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|percent)(_|$)", name), name


def test_the_promise_is_a_bound_of_the_histogram() -> None:
    bounds = set(re.findall(r'le="([^"]+)"', " ".join(rule["expr"] for rule in rules())))

    assert bounds == {"1.0"} <= {str(bound) for bound in FRESHNESS_BOUNDS}


def test_each_alert_says_what_to_do_and_has_a_test() -> None:
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    tests = [yaml.safe_load(path.read_text(encoding="utf-8"))["tests"] for path in TESTS]
    cases = [case for file in tests for test in file for case in test["alert_rule_test"]]

    assert all(rule["annotations"].keys() == {"summary", "action"} for rule in alerts.values())
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts.keys()
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts.keys()


def test_streams_are_the_jobs_that_run_until_stopped() -> None:
    """Their failure leaves their address, and their restarts are counted."""
    jobs = {path.stem for path in Path("jobs").glob("*.py") if "return run_stream(" in path.read_text(encoding="utf-8")}
    (restarts,) = (rule["expr"] for rule in rules() if rule.get("alert") == "AfterclickStreamRestarts")

    assert jobs - {"run_streams"} == STREAMS == set(re.findall(r"\((\w+(?:\|\w+)+)\)", restarts)[0].split("|"))


def test_dashboards_name_the_provisioned_source() -> None:
    source = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/afterclick.yaml").read_text(encoding="utf-8"))
    used = {
        panel["datasource"]["uid"] for path in DASHBOARDS for panel in json.loads(path.read_text("utf-8"))["panels"]
    }

    assert used == {source["datasources"][0]["uid"]}
    assert [path.stem for path in DASHBOARDS] == ["pipeline", "privacy", "quality", "relevance"]


TESTS = (Path("tests/contract/rules_days_test.yaml"), Path("tests/contract/rules_test.yaml"))


def test_alerts_fire_under_their_fault_and_clear_after() -> None:
    promtool = needs_promtool()

    checked, tested = run(promtool, "check", "rules", FOLDER / "rules.yaml"), run(promtool, "test", "rules", *TESTS)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_prometheus_accepts_the_configuration() -> None:
    done = run(needs_promtool(), "check", "config", FOLDER / "prometheus.yaml")

    assert done.returncode == 0, done.stdout + done.stderr


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def needs_promtool() -> str:
    """Return Debian's promtool; `.ci/run` installs it."""
    found = shutil.which("promtool")
    if found is None:
        reason = "promtool is not on this machine (apt-get install prometheus)"
        if os.environ.get("CI") == "true":  # noqa: TID251
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def _text(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()
