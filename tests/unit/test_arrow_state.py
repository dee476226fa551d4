"""State as bytes: what is read is what was written, whoever wrote it."""

import pyarrow as pa

from afterclick.arrow_state import read, write

TABLE = pa.table(
    {
        "word": pa.chunked_array([["ada", None], ["ada", "bob"]], pa.string()),
        "at": pa.array([1, 2, 3, None], pa.int64()),
        "nothing": pa.nulls(4, pa.string()),
    }
)


def test_a_table_of_several_chunks_with_nulls_is_read_as_it_was_written() -> None:
    assert read(write(TABLE)).equals(TABLE)


def test_no_rows_keep_their_columns() -> None:
    assert read(write(TABLE.slice(0, 0))).schema == TABLE.schema


def test_state_of_an_earlier_version_is_read() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, TABLE.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(TABLE)

    assert read(sink.getvalue().to_pybytes()).equals(TABLE)


def test_repeated_words_are_stored_once() -> None:
    assert len(write(pa.table({"word": ["a" * 1000] * 1000}))) < 2_000
