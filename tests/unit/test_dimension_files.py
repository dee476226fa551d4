"""Files of a catalogue or of customers: ids as written, mappings checked before anything starts."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from afterclick.dimension_files import read_dimension_file, read_dimension_mapping
from afterclick.errors import SchemaMismatchError, SettingsError
from jobs import import_dimension


def items(folder: Path, text: str, **renamed: str) -> list[dict[str, Any]]:
    """Return the rows of a catalogue with this text."""
    (folder / "items.csv").write_text(text, encoding="utf-8")
    return list(read_dimension_file(folder / "items.csv", "items", renamed).to_pylist())


def test_ids_and_categories_are_read_as_written(tmp_path: Path) -> None:
    rows = items(tmp_path, "sku,category\n0012,01\n12,1\n12345678901234567890,\n", item_id="sku")

    assert [(row["item_id"], row["category"]) for row in rows] == [
        ("0012", "01"),
        ("12", "1"),
        ("12345678901234567890", None),
    ]


def test_a_word_that_elsewhere_means_absent_stays_a_region(tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text("subject_id,region\nada,NA\nbob,EU\n")

    assert read_dimension_file(tmp_path / "customers.csv", "customers", {})["region"].to_pylist() == ["NA", "EU"]


def test_a_price_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatchError, match="column cost does not fit price"):
        items(tmp_path, "item_id,cost\nmug,cheap\n", price="cost")


def test_ids_of_floats_are_told_apart_or_refused(tmp_path: Path) -> None:
    for name, ids in (("small", [7.0, None]), ("large", [1e19, None])):
        pq.write_table(pa.table({"item_id": ids}), tmp_path / f"{name}.parquet")

    assert read_dimension_file(tmp_path / "small.parquet", "items", {})["item_id"].to_pylist() == ["7", None]
    with pytest.raises(SchemaMismatchError, match=r"large\.parquet: column item_id.*store them as text"):
        read_dimension_file(tmp_path / "large.parquet", "items", {})


def test_what_the_mapping_names_must_be_there_once(tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatchError, match=r"'prize' for price \(did you mean 'price'\?\).* It has sku, price"):
        items(tmp_path, "sku,price\na,1\n", item_id="sku", price="prize")
    with pytest.raises(SchemaMismatchError, match="more than one column sku"):
        items(tmp_path, "sku,sku\na,b\n", item_id="sku")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: .*No such file"),
        (b"item_id: [", "cannot be read"),
        (b'item_id: "Zo\xeb"', "cannot be read: .*UTF-8"),
        (b"- sku", "is not one of our column names to the file's own, as `item_id: sku`"),
        (b"item_id: 1", "is not one of our column names"),
        (b"item: sku\nprice: p", "item is no column of items; those are item_id, name, category, price"),
    ],
    ids=["missing", "yaml", "latin-1", "list", "number", "unknown"],
)
def test_a_mapping_that_is_none_is_refused_before_spark_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, told: str
) -> None:
    monkeypatch.delattr(import_dimension, "job_context")
    if content:
        (tmp_path / "items.yaml").write_bytes(content)

    with pytest.raises(SettingsError, match=rf"items\.yaml:? {told}"):
        import_dimension.main(["items", "items.csv", "--mapping", str(tmp_path / "items.yaml")])


def test_a_mapping_renames_columns(tmp_path: Path) -> None:
    (tmp_path / "items.yaml").write_text("item_id: sku\n")
    (tmp_path / "nothing.yaml").touch()

    assert read_dimension_mapping(tmp_path / "items.yaml", "items") == {"item_id": "sku"}
    assert read_dimension_mapping(tmp_path / "nothing.yaml", "items") == {}
    assert read_dimension_mapping(None, "items") == {}
