"""A job's metrics are on a loopback port while it runs; a text file says how it ended."""

import json
import os
import stat
import urllib.request
from pathlib import Path

import pytest

from afterclick.job_metrics import JobMetrics
from afterclick.metrics_export import exported_metrics, last_success, service_address
from afterclick.setting_sections import CollectorSettings, MetricsSettings


def test_running_job_is_served_at_the_address_it_wrote_down(tmp_path: Path) -> None:
    metrics = JobMetrics()
    metrics.sessions.inc(5)

    with exported_metrics("a/job", metrics, MetricsSettings(port=0, discovery_dir=tmp_path)):
        (target,) = json.loads((tmp_path / "a_job.json").read_text(encoding="utf-8"))
        with urllib.request.urlopen(f"http://{target['targets'][0]}/metrics") as answer:
            text = answer.read().decode()

    assert target["targets"][0].startswith("127.0.0.1:")
    assert "afterclick_sessions_closed_total 5.0" in text
    assert list(tmp_path.iterdir()) == []


def test_failed_run_shows_and_keeps_the_last_success(tmp_path: Path) -> None:
    settings = MetricsSettings(textfile_dir=tmp_path)
    file = tmp_path / "afterclick_train_model.prom"
    with exported_metrics("train_model", JobMetrics(), settings):
        pass
    succeeded = last_success(file)
    assert 'afterclick_job_failed{batch_job="train_model"} 0.0' in file.read_text(encoding="utf-8")

    with pytest.raises(ZeroDivisionError), exported_metrics("train_model", JobMetrics(), settings):
        _ = 1 / 0

    assert 'afterclick_job_failed{batch_job="train_model"} 1.0' in file.read_text(encoding="utf-8")
    assert last_success(file) == succeeded is not None


def test_other_users_read_what_a_service_with_a_closed_umask_leaves(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    settings = MetricsSettings(port=0, discovery_dir=folder, textfile_dir=folder)
    before = os.umask(0o077)
    try:
        with (
            exported_metrics("job", JobMetrics(), settings),
            service_address("api", CollectorSettings(port=1), settings),
        ):
            told = [*folder.rglob("*.json")]
            modes = [stat.S_IMODE(one.stat().st_mode) for one in (folder, folder / "services", *told)]
    finally:
        os.umask(before)

    assert len(told) == 2
    assert modes == [0o755, 0o755, 0o644, 0o644]
    assert stat.S_IMODE((folder / "afterclick_job.prom").stat().st_mode) == 0o644


def test_a_service_starts_though_its_address_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with service_address(
        "api", CollectorSettings(port=1), MetricsSettings(discovery_dir=tmp_path / "file" / "metrics")
    ):
        started = True

    assert started


def test_a_folder_that_was_closed_before_is_opened(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir(mode=0o700)

    with service_address("api", CollectorSettings(port=1), MetricsSettings(discovery_dir=folder)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_run_that_says_it_failed_is_no_success(tmp_path: Path) -> None:
    settings, metrics = MetricsSettings(textfile_dir=tmp_path), JobMetrics()
    file = tmp_path / "afterclick_ingest_events.prom"

    with exported_metrics("ingest_events", metrics, settings):
        metrics.run_failed = True

    assert 'afterclick_job_failed{batch_job="ingest_events"} 1.0' in file.read_text(encoding="utf-8")
    assert last_success(file) is None

    with exported_metrics("ingest_events", metrics, settings):
        pass

    assert 'afterclick_job_failed{batch_job="ingest_events"} 0.0' in file.read_text(encoding="utf-8")
    assert last_success(file)


@pytest.mark.parametrize(("is_stream", "failed", "stays"), [(1, 1, True), (1, 0, False), (0, 1, False), (0, 0, False)])
def test_only_a_failed_stream_leaves_its_address(tmp_path: Path, is_stream: int, failed: int, stays: bool) -> None:
    metrics = JobMetrics()

    with exported_metrics("a", metrics, MetricsSettings(port=0, discovery_dir=tmp_path), is_stream=bool(is_stream)):
        metrics.run_failed = bool(failed)

    assert (tmp_path / "a.json").exists() == stays


def test_stream_that_cannot_start_leaves_its_address(tmp_path: Path) -> None:
    settings = MetricsSettings(port=0, discovery_dir=tmp_path)

    with pytest.raises(ZeroDivisionError), exported_metrics("a", JobMetrics(), settings, is_stream=True):
        _ = 1 / 0

    assert (tmp_path / "a.json").exists()


def test_services_keep_apart_by_port_and_a_stop_takes_only_its_own_away(tmp_path: Path) -> None:
    settings = MetricsSettings(discovery_dir=tmp_path)
    tls = CollectorSettings(port=4001, tls_certificate=Path("a.pem"), tls_key=Path("a.key"))

    with service_address("collector", tls, settings):
        with service_address("collector", CollectorSettings(port=4000), settings):
            entries = {path.name: json.loads(path.read_text("utf-8")) for path in tmp_path.glob("services/*")}
        left = [path.name for path in tmp_path.glob("services/*")]

    assert entries == {
        "collector_4000.json": [{"targets": ["127.0.0.1:4000"], "labels": {"__scheme__": "http"}}],
        "collector_4001.json": [{"targets": ["127.0.0.1:4001"], "labels": {"__scheme__": "https"}}],
    }
    assert left == ["collector_4001.json"]
    assert list(tmp_path.glob("services/*")) == list(tmp_path.glob("*.json")) == []


def test_service_that_crashes_leaves_its_address(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):  # noqa: SIM117 - what leaves the inner one is looked at
        with service_address("serving", CollectorSettings(port=4000), MetricsSettings(discovery_dir=tmp_path)):
            raise SystemExit(3)

    assert (tmp_path / "services" / "serving_4000.json").exists()


def test_job_that_never_succeeded_has_no_time_of_success(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        exported_metrics("train_model", JobMetrics(), MetricsSettings(textfile_dir=tmp_path)),
    ):
        _ = 1 / 0

    assert last_success(tmp_path / "afterclick_train_model.prom") is None


def test_nothing_is_served_or_written_unless_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with (
        exported_metrics("job", JobMetrics(), MetricsSettings()),
        service_address("api", CollectorSettings(), MetricsSettings()),
    ):
        pass
    with service_address("api", CollectorSettings(port=0), MetricsSettings(discovery_dir=tmp_path)):
        pass

    assert list(tmp_path.iterdir()) == []
