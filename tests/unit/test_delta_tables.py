"""Tables are created once, checked ever after, and written once per batch."""

import contextlib
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from pyarrow import fs
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.errors import SchemaMismatchError, SettingsError
from afterclick.schemas import TABLES
from afterclick.schemas_dimensions import ITEM
from afterclick.settings import Settings


def test_ensure_tables_creates_every_table_and_accepts_it_afterwards(spark: SparkSession, settings: Settings) -> None:
    delta_tables.ensure_tables(spark, settings)
    delta_tables.ensure_tables(spark, settings)

    for name, schema in TABLES.items():
        assert delta_tables.read_table(spark, settings, name).schema.names == schema.names


def test_ensure_tables_lists_all_differences_when_another_version_has_written(
    spark: SparkSession, settings: Settings
) -> None:
    other = spark.createDataFrame([("s", 1)], "session_id string, subject_id bigint")
    other.write.format("delta").save(delta_tables.table_path(settings, "sessions"))

    with pytest.raises(
        SchemaMismatchError, match=r"missing 'started_at' \(timestamp\).*'subject_id' is bigint, expected string"
    ):
        delta_tables.ensure_tables(spark, settings)


def test_ensure_tables_adds_the_nullable_columns_of_a_newer_version(spark: SparkSession, settings: Settings) -> None:
    spark.createDataFrame([("mug",)], "item_id string").write.format("delta").save(
        delta_tables.table_path(settings, "items")
    )

    delta_tables.ensure_tables(spark, settings)

    items = delta_tables.read_table(spark, settings, "items")
    assert [row.asDict() for row in items.collect()] == [dict.fromkeys(ITEM.names) | {"item_id": "mug"}]


def test_append_once_adds_nothing_when_repeated(spark: SparkSession, settings: Settings) -> None:
    rows = spark.createDataFrame([("mug", "Mug", "Kitchen", *[None] * 4)], ITEM)

    for batch_id in (0, 0, 1, 0):
        delta_tables.append_once(rows, settings, query="query", table="items", batch_id=batch_id)

    assert delta_tables.read_table(spark, settings, "items").count() == 2


def test_append_once_holds_the_lock_of_the_table_while_it_commits(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = spark.createDataFrame([("mug", "Mug", "Kitchen", *[None] * 4)], ITEM)
    root = Path(delta_tables.table_path(settings, "items"))
    held: list[bool] = []

    @contextlib.contextmanager
    def look(*_: object) -> Iterator[None]:
        with (root.parent / f".{root.name}.lock").open("w") as other:  # another open file, as another process has
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held.append(False)
            except BlockingIOError:
                held.append(True)
        yield

    monkeypatch.setattr(delta_tables, "crash_while_writing", look)
    root.parent.mkdir(parents=True)
    delta_tables.append_once(rows, settings, query="query", table="items", batch_id=0)

    assert held == [True]


def test_generation_stays_with_the_checkpoint(settings: Settings) -> None:
    assert delta_tables.generation(settings, "q") == delta_tables.generation(settings, "q") > 1_700_000_000


def test_a_damaged_generation_is_refused_since_a_guess_could_lose_batches(settings: Settings) -> None:
    file = generation_file(settings, "q")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")

    with pytest.raises(SettingsError, match=rf"{file} holds '' instead of .*'q:<table>:<number>'"):
        delta_tables.generation(settings, "q")

    assert file.read_bytes() == b""


def test_a_crash_while_the_generation_is_written_leaves_none(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(fs.LocalFileSystem):  # type: ignore[misc]
        def open_output_stream(self, path: str) -> NoReturn:
            Path(path).touch()
            raise OSError("No space left")

    found = delta_tables.filesystem_of
    monkeypatch.setattr(delta_tables, "filesystem_of", lambda location: (FullDisk(), found(location)[1]))

    with pytest.raises(OSError, match="No space left"):
        delta_tables.generation(settings, "q")

    assert not generation_file(settings, "q").exists()
    monkeypatch.undo()
    assert delta_tables.generation(settings, "q") == int(generation_file(settings, "q").read_text())


def generation_file(settings: Settings, query: str) -> Path:
    return Path(settings.storage.checkpoints).resolve() / query / "generation"


def test_start_stream_refuses_when_another_process_holds_the_checkpoint(
    spark: SparkSession, settings: Settings
) -> None:
    delta_tables.generation(settings, "busy")
    lock = f"{settings.storage.checkpoints}/.busy.lock"
    code = (
        f"import fcntl,sys; f=open({lock!r},'w'); fcntl.flock(f,fcntl.LOCK_EX); "
        "print('held',flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        rows = spark.readStream.format("rate").load()

        with pytest.raises(SettingsError, match="busy already runs"):
            delta_tables.start_stream(rows, "busy", lambda *_: None, settings, trigger_ms=0, pool="bulk")
        holder.communicate("")
