"""`afterclick init`: what it writes loads with our own loaders, and it overwrites nothing."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from afterclick.cli import app
from afterclick.errors import SettingsError
from afterclick.new_project import NEXT, shipped_conf, write_project
from afterclick.quality import read_suite
from afterclick.recorded_logs import read_log, read_mapping
from afterclick.settings import load_settings
from afterclick.trigger_file import read_rule_file, read_rules
from conftest import installation_variables

LOG = """user,product,time,action,order,quantity,price
ada,mug,2026-01-01T10:00:00Z,clicked,,,
ada,mug,2026-01-01T10:05:00Z,bought,o1,2,4.5
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_project(tmp_path / "shop")
    return tmp_path / "shop"


@pytest.mark.parametrize("environment", ["local", "cluster"])
def test_settings_load_from_a_new_project(project: Path, environment: str) -> None:
    variables = installation_variables(project / ".afterclick", AFTERCLICK_CONF_DIR=str(project / "conf"))
    more = {"AFTERCLICK_MODEL__TRACKING_URI": "sqlite://", "AFTERCLICK_PRIVACY__SUBJECT_STORE": "sqlite://"}

    settings = load_settings(environment, variables={**variables, **more})

    assert settings.conf_dir == project / "conf"
    named = [value for value in settings.spark.values() if str(project / "conf") in value]
    assert len(named) == (2 if environment == "local" else 0)
    assert (project / "conf" / "log4j2.properties").exists()
    assert (project / "conf" / "fairscheduler.xml").exists()


def test_suites_and_triggers_of_a_new_project_are_read(project: Path) -> None:
    variables = installation_variables(project / ".afterclick", AFTERCLICK_CONF_DIR=str(project / "conf"))
    settings = load_settings("local", variables=variables)
    suites = sorted((project / "conf" / "expectations").rglob("*.json"))

    assert settings.suite_path("events") in suites
    assert all(read_suite(suite, of_table=suite.parent.name == "tables").rules for suite in suites)
    assert settings.triggers.rules == str(project / "conf" / "triggers.yaml")
    assert read_rules(read_rule_file(settings.triggers.rules), "triggers.yaml")


def test_the_mapping_of_a_new_project_reads_a_log_as_it_says(project: Path, tmp_path: Path) -> None:
    (tmp_path / "my_log.csv").write_text(LOG)

    log = read_log(tmp_path / "my_log.csv", read_mapping(project / "conf" / "mappings" / "my_events.yaml"))

    assert log.absent == ("event_id",)
    rows = log.table.to_pylist()
    assert [row["event_type"] for row in rows] == ["view", "purchase"]
    assert rows[1] == {
        "subject_id": "ada",
        "item_id": "mug",
        "event_at": datetime(2026, 1, 1, 10, 5, tzinfo=UTC),
        "event_type": "purchase",
        "order_id": "o1",
        "quantity": 2,
        "price": 4.5,
    }


def test_a_new_project_says_the_next_commands_and_keeps_secrets_out_of_git(project: Path) -> None:
    assert all(command in (project / "README.md").read_text() for command in NEXT)
    assert (project / ".gitignore").read_text() == "/.afterclick/\n"
    assert [path.name for path in (project / "conf" / "mappings").iterdir()] == ["my_events.yaml"]


def test_files_are_the_shipped_ones(project: Path) -> None:
    for copy in (project / "conf").rglob("*.*"):
        if copy.is_file():
            assert copy.read_bytes() == (shipped_conf() / copy.relative_to(project / "conf")).read_bytes()


def test_nothing_is_overwritten_or_half_written(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "triggers.yaml").write_text("mine")

    with pytest.raises(SettingsError, match=r"conf/triggers\.yaml.*nothing was written.*Give another folder"):
        write_project(tmp_path)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "conf" / "triggers.yaml"]


def test_a_folder_with_other_files_is_fine(tmp_path: Path) -> None:
    (tmp_path / "my_log.csv").write_text(LOG)

    assert Path("conf/base.yaml") in write_project(tmp_path)


def test_init_prints_one_json_object(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["init", str(tmp_path / "shop"), "--json"])

    told = json.loads(answer.stdout)
    assert sorted(told) == ["folder", "next", "written"]
    assert all((tmp_path / "shop" / file).is_file() for file in told["written"])


def test_init_prints_what_it_wrote_and_what_is_next(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["init", str(tmp_path / "shop")])

    assert f"wrote {tmp_path / 'shop' / 'conf' / 'base.yaml'}" in answer.stdout
    assert all(command in answer.stdout for command in NEXT)


def test_init_into_a_file_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "shop").touch()

    assert CliRunner().invoke(app, ["init", str(tmp_path / "shop")]).exit_code == 2
