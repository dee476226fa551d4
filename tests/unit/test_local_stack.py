"""What `afterclick up` refuses before it starts a server, and how it keeps the pseudonym key."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from afterclick.errors import LocalStackError, SettingsError
from afterclick.local import stack


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Return what is called in place of everything that starts a server or speaks to one."""
    calls = Mock()
    for name in ("start_valkey", "start_kafka", "create_topic", "broker_jars", "find_java"):
        monkeypatch.setattr(stack, name, getattr(calls, name))
    monkeypatch.delenv("AFTERCLICK_PRIVACY__PSEUDONYM_KEY", raising=False)
    return calls


def endpoints_of(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "endpoints.yaml").read_text(encoding="utf-8")))


def test_endpoints_are_written_for_our_eyes_only_and_kept(tmp_path: Path, servers: Mock) -> None:
    first = stack.start_stack(tmp_path)

    assert stack.start_stack(tmp_path) == first == endpoints_of(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["endpoints.yaml"]
    assert (tmp_path / "endpoints.yaml").stat().st_mode & 0o777 == 0o600
    assert servers.start_valkey.call_args.kwargs["port"] == int(first["redis"]["url"].split(":")[2].split("/")[0])
    assert first["kafka"]["bootstrap_servers"] == f"127.0.0.1:{servers.start_kafka.call_args.kwargs['port']}"


def test_endpoints_that_cannot_be_written_whole_are_not_there(
    tmp_path: Path, servers: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", Mock(side_effect=OSError("no space left on device")))

    with pytest.raises(OSError, match="no space left"):
        stack.start_stack(tmp_path)

    assert not (tmp_path / "endpoints.yaml").exists()
    assert servers.mock_calls == []


def test_without_conf_no_server_is_started(tmp_path: Path, servers: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SettingsError, match=r"base\.yaml does not exist"):
        stack.start_stack(tmp_path / "state")

    assert servers.mock_calls == []


@pytest.mark.parametrize(
    "text", ["", "collector: {port: 1}\nkafka: {bootstr", "collector: {port: 1}\n", "kafka", "redis: {url: 1}", "\x00"]
)
def test_damaged_endpoints_are_told_and_left_as_they_are(tmp_path: Path, servers: Mock, text: str) -> None:
    (tmp_path / "endpoints.yaml").write_text(text)

    with pytest.raises(LocalStackError, match=r"damaged.*holds the pseudonym key: restore it from a backup"):
        stack.start_stack(tmp_path)

    assert (tmp_path / "endpoints.yaml").read_text() == text
    assert servers.mock_calls == []


def test_no_new_key_is_made_beside_tables(tmp_path: Path, servers: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tables" / "events" / "_delta_log").mkdir(parents=True)

    with pytest.raises(LocalStackError, match=r"has tables but no endpoints\.yaml.*Restore the file"):
        stack.start_stack(tmp_path)

    assert not (tmp_path / "endpoints.yaml").exists()
    assert servers.mock_calls == []

    monkeypatch.setenv("AFTERCLICK_PRIVACY__PSEUDONYM_KEY", "k" * 64)
    assert stack.start_stack(tmp_path) == endpoints_of(tmp_path)
