"""State of an operator as Arrow tables: strings to codes and back, tables to bytes and back.

Words stay codes beside their dictionary from one batch to the next: a pseudonym takes 4 bytes a row instead of 36,
and only the distinct ones are ever hashed.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

IntVector = npt.NDArray[np.int64]
WORD = pa.dictionary(pa.int32(), pa.string())
"""Type of a column of words in the state."""
_OPTIONS = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))


def encode(*columns: Any, in_order: bool = False) -> tuple[list[IntVector], pa.Array]:
    """Return each column of strings or words as codes into one dictionary; null is -1.

    Parameters
    ----------
    in_order
        Sort the dictionary, so that comparing codes means the same in every batch; for few distinct words.
    """
    chunks = [c for column in columns for c in (column.chunks if isinstance(column, pa.ChunkedArray) else [column])]
    encoded = pa.chunked_array([_coded(c) for c in chunks], WORD).combine_chunks()
    words, indices = encoded.dictionary, encoded.indices.fill_null(-1)
    codes = np.asarray(indices.to_numpy(zero_copy_only=False), np.int64)
    if in_order:
        order = pc.array_sort_indices(words).to_numpy()
        rank = np.empty(len(order) + 1, np.int64)
        rank[order], rank[-1] = np.arange(len(order)), -1
        words, codes = words.take(pa.array(order)), rank[codes]
    return np.split(codes, np.cumsum([len(column) for column in columns])[:-1]), words


def decode(codes: IntVector, dictionary: pa.Array) -> pa.DictionaryArray:
    """Return the words (`WORD`) of codes; -1 is null."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=codes < 0), dictionary)


def spelled(table: pa.Table) -> pa.Table:
    """Return a table with its words as strings."""
    return table.cast(spelled_schema(table.schema))


def spelled_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema with strings where it has words."""
    return pa.schema([field.with_type(pa.string()) if field.type == WORD else field for field in schema])


def write(table: pa.Table) -> bytes:
    """Return a table as an Arrow stream, each distinct string once: a third of the bytes, and Spark handles all in each batch."""
    columns = [_only_used(column) if _has_words(column) else column for column in table.columns]
    named = pa.table(columns, table.schema.names).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, named.schema, options=_OPTIONS) as writer:
        writer.write_table(named)
    return sink.getvalue().to_pybytes()


def read(blob: bytes) -> pa.Table:
    """Return the table of an Arrow stream, strings as words (`WORD`)."""
    stored = pa.ipc.open_stream(blob).read_all()
    return pa.table([_coded(column) for column in stored.columns], stored.schema.names)


def _has_words(column: Any) -> bool:
    return bool(pa.types.is_dictionary(column.type) or pa.types.is_string(column.type))


def _coded(column: Any) -> Any:
    return column.dictionary_encode() if pa.types.is_string(column.type) else column


def _only_used(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a column in one piece, without the words that no row has any more."""
    (codes,), words = encode(column)
    is_used = np.zeros(len(words) + 1, bool)  # the last one is null's
    is_used[codes] = True
    place = np.cumsum(is_used) - 1
    return decode(np.where(codes < 0, -1, place[codes]), words.filter(pa.array(is_used[:-1])))


def state_tables(state: Any) -> list[pa.Table]:
    """Return the tables of a state, a dataclass of nothing else, in the order of its fields."""
    return [getattr(state, field.name) for field in fields(state)]


def concatenate(schema: pa.Schema, tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables under one another, cast to `schema`; none gives an empty one."""
    cast = [table.select(schema.names).cast(schema) for table in tables]
    return pa.concat_tables(cast).combine_chunks() if cast else schema.empty_table()
