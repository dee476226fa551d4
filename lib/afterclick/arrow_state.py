"""State of an operator as Arrow tables: strings to codes and back, tables to bytes and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

IntVector = npt.NDArray[np.int64]
_OPTIONS = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))


def encode(*columns: Any, in_order: bool = False) -> tuple[list[IntVector], pa.Array]:
    """Return each column of strings as codes into one dictionary; null is -1.

    Parameters
    ----------
    in_order
        Sort the dictionary, so that comparing codes means the same in every batch; for few distinct words.
    """
    chunks = [c for column in columns for c in (column.chunks if isinstance(column, pa.ChunkedArray) else [column])]
    encoded = pa.chunked_array(chunks, pa.string()).combine_chunks().dictionary_encode()
    words, codes = encoded.dictionary, encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if in_order:
        order = pc.array_sort_indices(words).to_numpy()
        rank = np.empty(len(order) + 1, np.int64)
        rank[order], rank[-1] = np.arange(len(order)), -1
        words, codes = words.take(pa.array(order)), rank[codes]
    return np.split(codes, np.cumsum([len(column) for column in columns])[:-1]), words


def decode(codes: IntVector, dictionary: pa.Array) -> pa.Array:
    """Return the strings of codes; -1 is null."""
    return dictionary.take(pa.array(codes, mask=codes < 0))


def write(table: pa.Table) -> bytes:
    """Return a table as an Arrow stream, each distinct string once: a third of the bytes, and Spark handles all in each batch."""
    whole = table.combine_chunks()
    columns = [column.dictionary_encode() if pa.types.is_string(column.type) else column for column in whole.columns]
    named = pa.table(columns, whole.schema.names)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, named.schema, options=_OPTIONS) as writer:
        writer.write_table(named)
    return sink.getvalue().to_pybytes()


def read(blob: bytes) -> pa.Table:
    """Return the table of an Arrow stream, strings as strings."""
    stored = pa.ipc.open_stream(blob).read_all()
    is_word = [pa.types.is_dictionary(column.type) for column in stored.columns]
    columns = [c.cast(pa.string()) if word else c for c, word in zip(stored.columns, is_word, strict=True)]
    return pa.table(columns, stored.schema.names)


def concatenate(schema: pa.Schema, tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables under one another, cast to `schema`; none gives an empty one."""
    return (
        pa.concat_tables([table.select(schema.names).cast(schema) for table in tables])
        if tables
        else schema.empty_table()
    )
