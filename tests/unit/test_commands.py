"""The command-line program: help, exit codes, JSON."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from pyspark.sql import Row
from typer.testing import CliRunner

from afterclick.cli import app
from afterclick.commands import model, quarantine
from afterclick.commands.history import paced, segment_messages
from afterclick.errors import ContractError, StoreUnavailableError
from afterclick.recorded_logs import read_log, read_mapping
from conftest import installation_variables

LOG = (
    "subject_id,item_id,event_at,event_type\nada,mug,2026-01-01T10:00:00Z,view\nada,cup,2026-01-01T10:30:00Z,purchase\n"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(LOG + ",mug,2026-01-01T10:00:00Z,view\nada,mug,2026-01-01T11:00:01Z,view\n")
    return path


@pytest.mark.parametrize(
    "command",
    [
        [],
        *[
            [n]
            for n in (
                "up",
                "down",
                "doctor",
                "init",
                "demo",
                "replay",
                "import",
                "sessionize",
                "evaluate",
                "bench",
                "serve",
                "rebuild-cache",
            )
        ],
        ["ledger", "check"],
        *[["quarantine", name] for name in ("list", "inspect", "replay")],
    ],
    ids=lambda command: " ".join(command) or "program",
)
def test_help_has_an_example(command: list[str]) -> None:
    answer = CliRunner().invoke(app, [*command, "--help"])

    assert answer.exit_code == 0
    assert "xample" in answer.output or not command


def test_replay_without_a_collector_says_how_to_start_one(log: Path, tmp_path: Path) -> None:
    environment = installation_variables(tmp_path)

    answer = CliRunner().invoke(app, ["replay", str(log), "--collector", "http://127.0.0.1:9"], env=environment)

    assert isinstance(answer.exception, StoreUnavailableError)
    assert "no collector answers at http://127.0.0.1:9: start it by `afterclick collector`" in str(answer.exception)
    assert "0 of 4 lines were accepted" in str(answer.exception)


def test_replay_of_a_log_without_times_says_where_they_were_looked_for(tmp_path: Path) -> None:
    log, mapping = tmp_path / "log.csv", tmp_path / "mapping.yaml"
    log.write_text("subject_id,item_id,at\nada,mug,\nada,cup,soon\n")
    mapping.write_text("event_at: at\n")
    command = ["replay", str(log), "--mapping", str(mapping), "--collector", "http://127.0.0.1:9"]

    answer = CliRunner().invoke(app, command, env=installation_variables(tmp_path))

    assert isinstance(answer.exception, ContractError)
    assert f"none of the 2 lines of {log} has a time in column at" in str(answer.exception)


def test_replay_of_an_empty_log_sends_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("subject_id,item_id,event_at\n")

    answer = CliRunner().invoke(app, ["replay", str(log), "--json"], env=installation_variables(tmp_path))

    assert json.loads(answer.stdout) == {"lines": 0, "acked": 0, "refused": 0, "retried": 0}


def test_sessionize_prints_one_json_object(log: Path, tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["sessionize", str(log), "--json", "--out", str(tmp_path / "out.parquet")])

    assert json.loads(answer.stdout) == {
        "events": 3,
        "subjects": 1,
        "sessions": 2,
        "lines": 4,
        "without_subject_or_time": 1,
    }
    assert (tmp_path / "out.parquet").exists()


def test_wrong_use_is_2() -> None:
    assert CliRunner().invoke(app, ["sessionize"]).exit_code == 2
    assert CliRunner().invoke(app, ["bench", "teleport"]).exit_code == 2


def test_an_error_of_ours_is_one_message_and_1(tmp_path: Path) -> None:
    bad = tmp_path / "log.csv"
    bad.write_text("who,what\n1,2\n")
    command = [sys.executable, "-m", "afterclick.cli", "sessionize", str(bad)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603

    assert (done.returncode, done.stdout) == (1, "")
    assert "no column for subject_id" in done.stderr
    assert "Traceback" not in done.stderr


def test_segment_messages_end_now_and_carry_the_mapping_s_consent(log: Path) -> None:
    table = read_log(log, read_mapping(None)).table.sort_by("event_at")

    messages = list(segment_messages(table, ("analytics",)))

    assert [message["event"] for message in messages] == [
        "Product Viewed",
        "Product Viewed",
        "Order Completed",
        "Product Viewed",
    ]
    assert messages[0]["context"]["consent"] == {"categoryPreferences": {"analytics": True}}
    assert messages[0]["originalTimestamp"] < messages[-1]["originalTimestamp"]


def test_paced_waits_as_the_log_says_divided_by_speed() -> None:
    times = ["2026-01-01T10:00:00+00:00", "2026-01-01T10:01:00+00:00", "2026-01-01T10:01:00+00:00"]
    messages = iter([{"originalTimestamp": at} for at in times])

    assert [wait for _, wait in paced(messages, 60, size=1)] == [0.0, 1.0, 0.0]


def test_keys_are_created_rotated_and_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in installation_variables(tmp_path).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> dict[str, Any]:
        return dict(json.loads(CliRunner().invoke(app, ["keys", *arguments, "--json"]).stdout))

    first = run("create", "--scope", "ingest", "--scope", "read")
    second = run("rotate", first["key_id"], "--overlap-hours", "1")
    listed = run("list")["keys"]
    assert [key["key_id"] for key in listed] == [first["key_id"], second["key_id"]]
    assert [key["expires_at"] is None for key in listed] == [False, True]
    assert second["scopes"] == ["ingest", "read"]
    assert first["key"] not in json.dumps(listed)
    assert run("revoke", second["key_id"]) == {"revoked": second["key_id"]}
    assert [key["key_id"] for key in run("list")["keys"]] == [first["key_id"]]


def test_keys_create_refuses_an_unknown_scope() -> None:
    assert CliRunner().invoke(app, ["keys", "create", "--scope", "everything"]).exit_code == 2


def test_quarantine_inspect_shows_a_message_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = '{"event": "[blue]", "name": "[/b] :cat:"}'
    rows = MagicMock()
    rows.where().orderBy().limit().collect.return_value = [Row(kafka_offset=3, raw=bytearray(raw, "utf-8"))]
    monkeypatch.setattr("afterclick.job_runner.job_context", lambda *_: nullcontext((None, None)))
    monkeypatch.setattr(quarantine, "_read", lambda *_: rows)
    monkeypatch.setattr(quarantine, "_selection", MagicMock())

    answer = CliRunner().invoke(app, ["quarantine", "inspect"])

    assert answer.exception is None
    assert raw in answer.stdout


def test_what_a_model_command_says_keeps_its_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_open", lambda _: (None, None))
    monkeypatch.setattr("afterclick.connectors.model_registry.set_alias", MagicMock())

    answer = CliRunner().invoke(app, ["model", "alias", "champion", "night[blue] [/b]"])

    assert answer.exception is None
    assert answer.stderr == "champion is night[blue] [/b]\n"
