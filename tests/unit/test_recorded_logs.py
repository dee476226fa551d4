"""Recorded logs become the default columns; what does not fit is null, what is missing is named."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from afterclick.errors import SchemaMismatchError, SettingsError
from afterclick.recorded_logs import LogMapping, read_log, read_mapping


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_read_log_takes_default_names_without_mapping(tmp_path: Path) -> None:
    path = written(tmp_path, "log.csv", "subject_id,item_id,event_at\nada,mug,2026-01-01T10:00:00Z\n")

    log = read_log(path, read_mapping(None))

    assert log.table.to_pylist() == [
        {"subject_id": "ada", "item_id": "mug", "event_at": datetime(2026, 1, 1, 10, tzinfo=UTC), "event_type": "view"}
    ]
    assert log.absent == ("event_type", "event_id", "order_id", "quantity", "price")


def test_read_log_renames_explodes_and_translates_when_otto(tmp_path: Path) -> None:
    events = [{"aid": 1, "ts": 1659304800025, "type": "clicks"}, {"aid": 2, "ts": 1659304800026, "type": "orders"}]
    line = json.dumps({"session": 7, "events": events})
    path = written(tmp_path, "log.jsonl", line + "\n")

    rows = read_log(path, read_mapping(Path("conf/mappings/otto.yaml"))).table.to_pylist()

    assert [(row["subject_id"], row["item_id"], row["event_type"]) for row in rows] == [
        ("7", "1", "view"),
        ("7", "2", "purchase"),
    ]
    assert rows[0]["event_at"] == datetime(2022, 7, 31, 22, 0, 0, 25_000, tzinfo=UTC)


def test_read_log_makes_null_of_what_does_not_fit(tmp_path: Path) -> None:
    path = written(
        tmp_path, "log.csv", "subject_id,item_id,event_at,quantity\n,mug,soon,many\nada,cup,2026-01-01T10:00:00Z,2\n"
    )

    rows = read_log(path, LogMapping()).table.to_pylist()

    assert [(row["subject_id"], row["event_at"] is None, row["quantity"]) for row in rows] == [
        (None, True, None),
        ("ada", False, 2),
    ]


def test_read_log_reads_ids_stored_as_floats(tmp_path: Path) -> None:
    table = pa.table(
        {"subject_id": [17850.0, None], "item_id": ["a", "b"], "event_at": pa.array([0, 1], pa.timestamp("us"))}
    )
    pq.write_table(table, tmp_path / "log.parquet")

    assert read_log(tmp_path / "log.parquet", LogMapping()).table["subject_id"].to_pylist() == ["17850", None]


def test_read_log_takes_a_date_as_its_midnight(tmp_path: Path) -> None:
    path = written(tmp_path, "log.csv", "subject_id,item_id,event_at\nada,mug,2026-11-01\nada,cup,\n")
    days = pa.array([date(2026, 11, 1), None], pa.date64())
    table = pa.table({"subject_id": ["ada", "ada"], "item_id": ["mug", "cup"], "event_at": days})
    pq.write_table(table, tmp_path / "log.parquet")

    for file in (path, tmp_path / "log.parquet"):
        times = read_log(file, LogMapping()).table["event_at"].to_pylist()
        assert times == [datetime(2026, 11, 1, tzinfo=UTC), None]


def test_read_log_names_missing_and_present_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "log.csv", "who,item_id\nada,mug\n")

    with pytest.raises(SchemaMismatchError, match=r"no column for subject_id, event_at; it has who, item_id"):
        read_log(path, LogMapping())


@pytest.mark.parametrize("text", ["shoe: size", "columns: {subject: x}", "event_at_unit: fortnight", "- 1"])
def test_read_mapping_refuses_what_it_does_not_know(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="cannot be used"):
        read_mapping(written(tmp_path, "mapping.yaml", text))


def test_read_log_refuses_other_kinds_of_files(tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatchError, match=r"'\.xlsx'"):
        read_log(written(tmp_path, "log.xlsx", ""), LogMapping())


@pytest.mark.parametrize("mapping", sorted(Path("conf/mappings").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_mapping_we_ship_is_valid(mapping: Path) -> None:
    assert read_mapping(mapping).purposes == ("analytics", "personalisation")
