"""Tables as agreed; a change here is a migration."""

import json
from pathlib import Path

from afterclick.quality import CHECK_COLUMNS
from afterclick.schemas import DECODED_EVENT, EVENT_MESSAGE, TABLES
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
