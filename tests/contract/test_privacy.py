"""Everything that is stored is declared in docs/privacy.md with purpose, retention and erasure."""

import re
from pathlib import Path

from afterclick.connectors.delta_erasure import personal_tables
from afterclick.connectors.key_store import _METADATA as KEY_TABLES
from afterclick.connectors.subject_tables import METADATA
from afterclick.schemas import TABLES
from afterclick.setting_sections import MaintenanceSettings
from afterclick.settings import Settings

_ROW = re.compile(r"^\| (table|topic|key|sql) \| `([\w.]+)` \| ([^|]+) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)
DECLARED = [match.groups() for match in _ROW.finditer(Path("docs/privacy.md").read_text(encoding="utf-8"))]
DEFAULT_DAYS = MaintenanceSettings().retention_days
HELP = "declare it in docs/privacy.md, 'Records of processing': kind, name, of people, purpose, kept, erased by"


def declared(kind: str) -> set[str]:
    return {name for one, name, _, _ in DECLARED if one == kind}


def test_every_table_is_declared() -> None:
    assert declared("table") == set(TABLES), HELP


def test_tables_of_people_are_those_that_erasure_empties() -> None:
    of_people = {name for kind, name, people, _ in DECLARED if kind == "table" and people.strip() == "yes"}

    assert of_people == set(personal_tables()), HELP


def test_tables_are_kept_as_long_as_the_defaults_say() -> None:
    unless_set = "until deleted; set `maintenance.retention_days`"
    by_age = {name: f"{days} days" if days else unless_set for name, days in DEFAULT_DAYS.items()}
    kept = {name: kept for kind, name, _, kept in DECLARED if kind == "table"}

    assert {name: kept[name] for name in by_age} == by_age, HELP
    assert not {name for name in set(kept) - set(by_age) if "day" in kept[name]}, HELP


def test_every_topic_is_declared() -> None:
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    found = {
        f"{section}.{name}"
        for section, kind in sections.items()
        for name in getattr(kind, "model_fields", ())
        if name == "topic" or name.endswith("_topic")
    }

    assert declared("topic") == found, HELP


def test_every_key_of_redis_is_declared() -> None:
    written = re.compile(r"\{(?:self\._)?prefix\}([a-z_]+)")
    found = {name for file in Path("lib").rglob("*.py") for name in written.findall(file.read_text(encoding="utf-8"))}

    assert declared("key") == found, HELP


def test_every_table_of_the_databases_is_declared() -> None:
    assert declared("sql") == {*METADATA.tables, *KEY_TABLES.tables}, HELP
