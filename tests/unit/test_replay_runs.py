"""A replay that is written down can be finished; one that was not written whole never began."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from afterclick.connectors import replay_runs
from afterclick.connectors.replay_runs import begin_run, end_run, unfinished_run
from afterclick.settings import Settings

STEPS = [{"set": {"field": "items[].quantity", "value": 1, "instead_of": 0}}]


def test_a_run_is_found_again_until_it_ends(settings: Settings) -> None:
    begun = begin_run(settings, 3, "replayed_at IS NULL", STEPS)

    assert unfinished_run(settings) == begun
    assert [path.name for path in run_file(settings).parent.iterdir()] == ["run.json"]
    end_run(settings)
    assert unfinished_run(settings) is None


def test_steps_that_cannot_be_written_down_leave_nothing_behind(settings: Settings) -> None:
    steps = [{"set": {"field": "event_at", "value": datetime(2026, 11, 26, 10, tzinfo=UTC)}}]

    with pytest.raises(TypeError, match="datetime"):
        begin_run(settings, 3, "replayed_at IS NULL", steps)

    assert not run_file(settings).exists()
    assert unfinished_run(settings) is None


@pytest.mark.parametrize("content", [b"", b'{"version": 3, "selec', b"\xff"])
def test_a_run_that_was_not_written_whole_never_began(
    settings: Settings, content: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_file(settings).parent.mkdir(parents=True)
    run_file(settings).write_bytes(content)
    monkeypatch.setattr(replay_runs.logger, "propagate", True)

    with caplog.at_level(logging.WARNING, replay_runs.logger.name):
        assert unfinished_run(settings) is None

    assert f"{run_file(settings)} cannot be read" in caplog.text
    begun = begin_run(settings, 4, "replayed_at IS NULL", STEPS)
    assert unfinished_run(settings) == begun


def run_file(settings: Settings) -> Path:
    return Path(settings.storage.checkpoints).resolve() / "replay_quarantine" / "run.json"
