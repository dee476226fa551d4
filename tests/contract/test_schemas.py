"""Tables as agreed; a change here is a migration."""

import json
from pathlib import Path

import pytest

from afterclick.quality import CHECK_COLUMNS, read_suite
from afterclick.schemas import DECODED_EVENT, EVENT_MESSAGE, TABLES
from afterclick.suite_validation import as_expectations
from golden_files import assert_golden


def test_tables_are_as_agreed() -> None:
    lines = []
    for name, schema in {**TABLES, "message": EVENT_MESSAGE}.items():
        columns = [f"  {f.name} {f.dataType.simpleString()}{'' if f.nullable else ' NOT NULL'}" for f in schema]
        lines.append(f"{name} (\n" + ",\n".join(columns) + "\n)\n")
    assert_golden("tables.ddl", "\n".join(lines))


def test_every_expectation_names_an_existing_column() -> None:
    suite = json.loads(Path("conf/expectations/events.json").read_text())

    named = {expectation["kwargs"]["column"] for expectation in suite["expectations"]}

    assert named <= {*DECODED_EVENT.names, *CHECK_COLUMNS}


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_a_suite_that_names_existing_columns(table: str) -> None:
    """A new table needs ``conf/expectations/tables/<table>.json``; look at items.json for the form."""
    suite = read_suite(Path(f"conf/expectations/tables/{table}.json"), of_table=True)

    named = set()
    for rule in (*suite.rules, *suite.table_rules):
        columns = [value for name, value in rule.kwargs.items() if name.startswith("column")]
        named |= {column for value in columns for column in ([value] if isinstance(value, str) else value)}
    assert suite.name == table
    assert suite.rules
    assert named <= set(TABLES[table].names)
    assert len(as_expectations(suite).expectations) == len(suite.content["expectations"])  # Great Expectations takes it
