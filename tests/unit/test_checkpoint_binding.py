"""A checkpoint restarts under what it was begun with, or is refused by name."""

import json
from pathlib import Path

import pytest

from afterclick.connectors import checkpoint_binding
from afterclick.connectors.checkpoint_binding import bind_checkpoint
from afterclick.errors import SettingsError
from afterclick.session_state import Shard
from afterclick.sessions import state_layout
from afterclick.settings import Settings

BOUND = {"sessions.shards": "2", "layout of the state": "abc"}


def test_a_checkpoint_goes_on_with_what_it_was_begun_with(settings: Settings) -> None:
    bind_checkpoint(settings, "build_sessions", BOUND)
    bind_checkpoint(settings, "build_sessions", BOUND)

    assert list(Path(settings.storage.checkpoints).rglob("*.json")) == [bound_file(settings)]


def test_another_layout_or_number_of_shards_is_refused_by_name(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind_checkpoint(settings, "build_sessions", BOUND)
    monkeypatch.setattr(checkpoint_binding, "__version__", "9.9")
    before = bound_file(settings).read_text()

    with pytest.raises(SettingsError) as refused:
        bind_checkpoint(settings, "build_sessions", {"sessions.shards": "4", "layout of the state": "def"})

    told = str(refused.value)
    assert "sessions.shards 2, now 4; layout of the state abc, now def" in told
    assert f"begun by Afterclick {json.loads(before)['version']}" in told
    assert "9.9" not in told
    assert bound_file(settings).read_text() == before


def test_a_checkpoint_from_before_is_taken_as_it_is_and_bound_from_now_on(settings: Settings) -> None:
    (Path(settings.storage.checkpoints) / "build_sessions" / "offsets").mkdir(parents=True)

    bind_checkpoint(settings, "build_sessions", BOUND)

    with pytest.raises(SettingsError, match=r"sessions\.shards 2, now 3"):
        bind_checkpoint(settings, "build_sessions", BOUND | {"sessions.shards": "3"})


def test_layout_changes_with_a_column_of_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_layout()
    empty = Shard.empty()
    wider = Shard(empty.open.append_column("colour", empty.open["subject_id"]), empty.mentions, empty.seen)

    monkeypatch.setattr(Shard, "empty", staticmethod(lambda: wider))

    assert state_layout() != before


def bound_file(settings: Settings) -> Path:
    return Path(settings.storage.checkpoints) / "build_sessions" / "bound_to.json"
