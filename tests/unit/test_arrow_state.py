"""State as bytes: what is read is what was written, whoever wrote it."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from afterclick.arrow_state import WORD, concatenate, decode, encode, read, spelled, write

TABLE = pa.table(
    {
        "word": pa.chunked_array([["ada", None], ["ada", "bob"]], pa.string()),
        "at": pa.array([1, 2, 3, None], pa.int64()),
        "nothing": pa.nulls(4, pa.string()),
    }
)


def test_a_table_of_several_chunks_with_nulls_is_read_as_it_was_written() -> None:
    assert spelled(read(write(TABLE))).equals(TABLE)


def test_no_rows_keep_their_columns() -> None:
    assert spelled(read(write(TABLE.slice(0, 0)))).schema == TABLE.schema


def test_state_of_an_earlier_version_is_read() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, TABLE.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(TABLE)

    assert spelled(read(sink.getvalue().to_pybytes())).equals(TABLE)


def test_repeated_words_are_stored_once() -> None:
    assert len(write(pa.table({"word": ["a" * 1000] * 1000}))) < 2_000


def test_words_that_no_row_has_any_more_are_not_stored() -> None:
    words = read(write(pa.table({"word": ["gone", "stays", "gone", None]})))

    left = read(write(words.filter(pa.array([False, True, False, True]))))["word"]

    assert left.to_pylist() == ["stays", None]
    assert left.chunk(0).dictionary.to_pylist() == ["stays"]


@given(
    columns=st.lists(st.lists(st.none() | st.sampled_from("abcd"), max_size=6), min_size=1, max_size=4), data=st.data()
)
def test_columns_of_words_and_of_strings_get_the_same_codes_for_the_same_word(
    columns: list[list[str | None]], data: st.DataObject
) -> None:
    kept = [data.draw(st.lists(st.booleans(), min_size=len(c), max_size=len(c))) for c in columns]
    is_word = data.draw(st.lists(st.booleans(), min_size=len(columns), max_size=len(columns)))
    arrays = [pa.array(column, pa.string()) for column in columns]
    given_as = [
        (array.cast(WORD) if word else array).filter(pa.array(mask, pa.bool_()))
        for array, word, mask in zip(arrays, is_word, kept, strict=True)
    ]

    for in_order in (False, True):
        codes, words = encode(*given_as, in_order=in_order)

        assert [decode(c, words).to_pylist() for c in codes] == [a.to_pylist() for a in given_as]
        assert not in_order or words.to_pylist() == sorted(words.to_pylist())


def test_tables_with_words_of_their_own_are_put_under_one_another() -> None:
    schema = pa.schema([("word", WORD)])
    tables = [read(write(pa.table({"word": words}))) for words in (["b", "a"], ["a", "c"])]

    both = concatenate(schema, [*tables, pa.table({"word": ["d", None]})])

    assert both["word"].to_pylist() == ["b", "a", "a", "c", "d", None]
    assert both.take(pa.array([3, 1, 4]))["word"].to_pylist() == ["c", "a", "d"]
