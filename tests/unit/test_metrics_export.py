"""A job's metrics are on a loopback port while it runs; a text file says how it ended."""

import json
import urllib.request
from pathlib import Path

import pytest

from afterclick.job_metrics import JobMetrics
from afterclick.metrics_export import exported_metrics, last_success
from afterclick.setting_sections import MetricsSettings


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


def test_job_that_never_succeeded_has_no_time_of_success(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        exported_metrics("train_model", JobMetrics(), MetricsSettings(textfile_dir=tmp_path)),
    ):
        _ = 1 / 0

    assert last_success(tmp_path / "afterclick_train_model.prom") is None


def test_nothing_is_served_or_written_unless_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with exported_metrics("job", JobMetrics(), MetricsSettings()):
        pass

    assert list(tmp_path.iterdir()) == []
