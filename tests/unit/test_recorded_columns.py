"""Ids of a recorded log stay the text that they are; columns that are not there, or not as said, are told."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from afterclick.errors import SchemaMismatchError, SettingsError
from afterclick.recorded_logs import LogMapping, read_log, read_mapping

HEAD = "subject_id,item_id,event_at,order_id,quantity,price\n"
AT = "2026-01-01T10:00:00Z"
TIMES = pa.array([AT, None])


def rows_of_log(path: Path, mapping: LogMapping) -> list[dict[str, Any]]:
    return list(read_log(path, mapping).table.to_pylist())


def logged(folder: Path, text: str, name: str = "log.csv", **columns: str) -> list[dict[str, Any]]:
    """Return the rows of a log with this text, read with the columns of a mapping."""
    (folder / name).write_text(text, encoding="utf-8")
    return rows_of_log(folder / name, LogMapping(columns=columns))


def logged_parquet(folder: Path, **columns: Any) -> list[dict[str, Any]]:
    """Return the rows of a Parquet log of two lines with some columns of its own."""
    table = pa.table({"subject_id": ["ada", "bob"], "item_id": ["mug", "cup"], "event_at": TIMES, **columns})
    pq.write_table(table, folder / "log.parquet")
    return rows_of_log(folder / "log.parquet", LogMapping())


@pytest.mark.parametrize(
    "ids",
    [
        ("00501", "0501", "501"),
        ("12345678901234567890", "12345678901234567999"),
        ("9007199254740993", "9007199254740992"),
        ("1e5", "100000"),
        ("2026-01-01", "20260101"),
        ("1.10", "1.1"),
        ("NA", "ada"),
    ],
    ids=" ".join,
)
def test_ids_of_a_csv_are_read_as_written(tmp_path: Path, ids: tuple[str, ...]) -> None:
    rows = logged(tmp_path, HEAD + "".join(f"{one},{one},{AT},{one},1,2\n" for one in ids))

    assert [(row["subject_id"], row["item_id"], row["order_id"]) for row in rows] == [(one, one, one) for one in ids]


def test_ids_of_a_csv_are_read_as_written_in_columns_that_a_mapping_names(tmp_path: Path) -> None:
    text = f"who,what,event_at\n007,0012345678905,{AT}\n"

    (row,) = logged(tmp_path, text, subject_id="who", item_id="what")

    assert (row["subject_id"], row["item_id"]) == ("007", "0012345678905")


def test_numbers_of_a_csv_some_of_which_are_absent_are_ids_without_a_fraction(tmp_path: Path) -> None:
    names = ("17850.0", "", "NULL", "nan", "12.0")

    rows = logged(tmp_path, HEAD + "".join(f"{name},a,{AT},,1,2\n" for name in names))

    assert [row["subject_id"] for row in rows] == ["17850", None, None, None, "12"]


@pytest.mark.parametrize("large", [2.0**53, -1e19])
def test_ids_that_are_too_large_for_floats_are_refused(tmp_path: Path, large: float) -> None:
    with pytest.raises(SchemaMismatchError, match=r"log\.parquet: column item_id .*floats.*store them as text"):
        logged_parquet(tmp_path, item_id=[1.0, large])


def test_ids_that_json_reads_as_floats_are_refused(tmp_path: Path) -> None:
    line = json.dumps({"subject_id": 12345678901234567890, "item_id": "mug", "event_at": AT})

    with pytest.raises(SchemaMismatchError, match=r"column subject_id .*store them as text"):
        logged(tmp_path, line + "\n", "log.jsonl")


def test_smaller_floats_are_ids_and_no_number_is_none(tmp_path: Path) -> None:
    rows = logged_parquet(tmp_path, subject_id=[2.0**53 - 1, float("nan")])

    assert [row["subject_id"] for row in rows] == ["9007199254740991", None]


def test_a_column_that_only_the_mapping_knows_is_told_with_the_closest(tmp_path: Path) -> None:
    text = f"user,product,time,action\nada,mug,{AT},bought\n"
    named = {"subject_id": "user", "item_id": "product", "event_at": "time"}

    told = r"does not have .*'acton' for event_type \(did you mean 'action'\?\).* It has user, product, time, action"
    with pytest.raises(SchemaMismatchError, match=told):
        logged(tmp_path, text, event_type="acton", **named)
    with pytest.raises(SchemaMismatchError, match=r"'user\.id' for subject_id \(did you mean 'user'\?\)"):
        logged(tmp_path, text, **{**named, "subject_id": "user.id"})


def test_a_field_of_a_struct_that_only_the_mapping_knows_is_told(tmp_path: Path) -> None:
    line = json.dumps({"user": {"id": "ada", "at": AT}, "item_id": "mug"})

    with pytest.raises(SchemaMismatchError, match=r"'user\.idd' for subject_id \(did you mean 'user\.id'\?\)"):
        logged(tmp_path, line + "\n", "log.jsonl", subject_id="user.idd", event_at="user.at")
    with pytest.raises(SchemaMismatchError, match="column user does not fit subject_id"):
        logged(tmp_path, line + "\n", "log.jsonl", subject_id="user", event_at="user.at")


def test_a_constant_needs_no_column(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(f"subject_id,item_id,event_at\nada,mug,{AT}\n")
    mapping = LogMapping(columns={"event_type": "action"}, constants={"event_type": "purchase"})

    assert read_log(tmp_path / "log.csv", mapping).table["event_type"].to_pylist() == ["purchase"]


@pytest.mark.parametrize(
    "kind",
    [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    ids=["large", "view", "dictionary"],
)
def test_text_of_parquet_may_be_of_any_kind(tmp_path: Path, kind: pa.DataType) -> None:
    texts = {"subject_id": ["ada", "bob"], "event_at": [AT, None], "price": ["2.5", "n/a"]}
    columns = {name: pa.array(values).cast(kind) for name, values in texts.items()}

    rows = logged_parquet(tmp_path, **columns)

    assert [(row["subject_id"], row["event_at"] is None, row["price"]) for row in rows] == [
        ("ada", False, 2.5),
        ("bob", True, None),
    ]


@pytest.mark.parametrize(
    "values",
    [[0.5, 2.0], [1.5, 2.0], ["0.5", "2.0"], ["many", " 2 "], [float("inf"), 2.0], [1e30, 2.0]],
    ids=str,
)
def test_a_quantity_that_is_no_whole_number_is_null(tmp_path: Path, values: list[Any]) -> None:
    assert [row["quantity"] for row in logged_parquet(tmp_path, quantity=values)] == [None, 2]


def test_a_fraction_in_a_csv_is_no_quantity(tmp_path: Path) -> None:
    rows = logged(tmp_path, HEAD + f"ada,kiwi,{AT},o,0.5,2\nada,mug,{AT},o,2.0,$2.50\nada,mug,{AT},o,3,n/a\n")

    assert [(row["quantity"], row["price"]) for row in rows] == [(None, 2.0), (2, None), (3, None)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", f"subject_id,item_id,event_at\nZoë,mug,{AT}\n"),
        ("log.csv", f"subject_id,item_id,event_at,größe\nada,mug,{AT},1\n"),
        ("log.jsonl", f'{{"subject_id": "Zoë", "item_id": "mug", "event_at": "{AT}"}}\n'),
    ],
    ids=["value", "name", "json"],
)
def test_another_encoding_is_refused_and_the_right_one_told(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="latin-1")

    with pytest.raises(SchemaMismatchError, match=rf"{name} cannot be read.*Save it as UTF-8"):
        read_log(tmp_path / name, LogMapping())


@pytest.mark.parametrize("named", ["item_id", "item_id.part"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, named: str) -> None:
    with pytest.raises(SchemaMismatchError, match="more than one column item_id"):
        logged(tmp_path, f"subject_id,item_id,event_at,item_id\nada,mug,{AT},cup\n", item_id=named)


@pytest.mark.parametrize("name", ["events", "item_id"])
def test_explode_needs_a_column_of_lists(tmp_path: Path, name: str) -> None:
    (tmp_path / "log.csv").write_text(f"subject_id,item_id,event_at\nada,mug,{AT}\n")

    with pytest.raises(
        SchemaMismatchError, match=rf"no column '{name}' of lists.*it has subject_id, item_id, event_at"
    ):
        read_log(tmp_path / "log.csv", LogMapping(explode=name))


@pytest.mark.parametrize(
    "content", [b'subject_id: "Zo\xeb"', b"columns: [a]", b"columns: 1\nsubject_id: a", b"subject_id: 2026-13-01"]
)
def test_a_mapping_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mapping.yaml").write_bytes(content)

    with pytest.raises(SettingsError, match=r"mapping\.yaml cannot be used"):
        read_mapping(tmp_path / "mapping.yaml")


def test_a_csv_with_empty_headers_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("subject_id,item_id,event_at,,\nada,mug,2026-11-24T12:00:00Z,,\n")

    assert len(read_log(path, LogMapping()).table) == 1


def test_json_lines_need_not_have_what_no_line_has(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"user": "ada", "item_id": "mug", "event_at": "2026-11-24T12:00:00Z"}\n')
    columns = {"subject_id": "user", "order_id": "order"}

    assert len(read_log(path, LogMapping(columns=columns)).table) == 1
    with pytest.raises(SchemaMismatchError, match="'person' for subject_id"):
        read_log(path, LogMapping(columns=columns | {"subject_id": "person"}))


def test_blanks_around_ids_of_a_csv_are_no_part_of_them(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = "".join(f"{user},mug,2026-11-24T12:00:00Z\n" for user in (" 17850.0", "NA", "17851.0 "))
    path.write_text("subject_id,item_id,event_at\n" + rows)

    assert read_log(path, LogMapping()).table["subject_id"].to_pylist() == ["17850", None, "17851"]


def test_what_nobody_reads_may_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    agents = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    times = pa.array(["2026-11-24T12:00:00Z"])
    pq.write_table(pa.table({"subject_id": ["ada"], "item_id": ["mug"], "event_at": times, "user_agent": agents}), path)

    assert len(read_log(path, LogMapping()).table) == 1
