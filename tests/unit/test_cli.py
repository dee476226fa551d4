"""What the program says when something is wrong, whatever its words hold."""

import pytest

from afterclick import cli
from afterclick.errors import SettingsError


def test_an_error_is_printed_with_all_its_brackets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise SettingsError("column at (timestamp[us, tz=UTC]) is no [red]")

    monkeypatch.setattr(cli, "app", fail)

    assert cli.main() == 1
    assert "column at (timestamp[us, tz=UTC]) is no [red]" in capsys.readouterr().err.replace("\n", "")
