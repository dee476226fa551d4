"""Columns of a recorded file: found by the names a mapping gives them, ids as the text that they are."""

import logging
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from afterclick.errors import SchemaMismatchError

logger = logging.getLogger(__name__)
_EXACT = 2**53
"""From here on not every whole number is a float: ids that differ may be the same one."""


def refuse_repeated(path: Path, source: pa.Table, names: Iterable[str]) -> None:
    """Refuse a file that has one of these columns twice, so that nobody knows which is meant."""
    there = source.schema.names
    if twice := sorted({one for name in names for one in (name, name.split(".")[0]) if there.count(one) > 1}):
        message = f"{path} has more than one column {', '.join(twice)}: rename or remove all but one of them"
        raise SchemaMismatchError(message)


def refuse_absent(path: Path, source: pa.Table, columns: Mapping[str, str], *, needed: Collection[str]) -> None:
    """Refuse a mapping, the file's names by ours, that names a column the file does not have.

    JSON Lines have a column where a line has it: of those only `needed` ones are missed, others are told in the log.
    """
    told = []
    there = list(_names(source.schema))
    is_sparse = path.suffix in {".jsonl", ".ndjson"}
    for ours, name in columns.items():
        if find_column(source, name) is None:
            if is_sparse and ours not in needed:
                logger.warning("%s: no line has %r for %s", path, name, ours)
                continue
            near = get_close_matches(name, there, 1)
            told.append(f"{name!r} for {ours}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    if told:
        message = (
            f"{path} does not have what the mapping names: {', '.join(told)}. It has {', '.join(there)}. "
            "Correct the mapping, or remove from it what the file does not have."
        )
        raise SchemaMismatchError(message)


def explode(path: Path, source: pa.Table, name: str) -> pa.Table:
    """Return one row per element of a column of lists."""
    there = [
        field.name for field in source.schema if pa.types.is_list(field.type) or pa.types.is_large_list(field.type)
    ]
    if name not in there:
        told = f"{path} has no column {name!r} of lists to explode; it has {', '.join(source.schema.names)}"
        message = (
            f"{told}. Columns of lists: {', '.join(there) or 'none'}. Correct `explode` in the mapping, or remove it."
        )
        raise SchemaMismatchError(message)
    lists = source[name].combine_chunks()
    parents = source.drop_columns([name]).take(pc.list_parent_indices(lists))
    return parents.append_column(name, pc.list_flatten(lists))


def find_column(source: pa.Table, name: str) -> Any:
    """Return a column, with ``a.b`` field b of a struct, or None; any kind of text as plain strings."""
    first, *inner = name.split(".") if name not in source.schema.names else [name]
    if first not in source.schema.names:
        return None
    values = source[first]
    for field in inner:
        if not pa.types.is_struct(values.type) or values.type.get_field_index(field) < 0:
            return None
        values = pc.struct_field(values, field)
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    is_text = pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type)
    return pc.cast(values, pa.string()) if is_text else values


def as_text(values: Any) -> Any:
    """Return ids as text; whole floats, which ids become when some are absent, without their ``.0``.

    Raises
    ------
    ValueError
        If they are floats too large to tell one id from the next.
    """
    if not pa.types.is_floating(values.type):
        return pc.cast(values, pa.string())
    known = pc.if_else(pc.is_finite(values), pc.cast(values, pa.float64()), None)
    if (pc.max(pc.abs(known)).as_py() or 0) >= _EXACT:
        message = "numbers from 2**53 on were stored as floats, which lose digits: store them as text"
        raise ValueError(message)
    is_whole = pc.equal(known, pc.floor(known))
    return pc.if_else(is_whole, pc.cast(pc.cast(pc.floor(known), pa.int64()), pa.string()), pc.cast(known, pa.string()))


def as_number(values: Any, kind: pa.DataType) -> Any:
    """Return numbers; null for text that is none, and for a fraction where whole numbers are wanted."""
    if pa.types.is_string(values.type):
        values = pc.utf8_trim_whitespace(values)
        is_number = pc.match_substring_regex(values, r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
        values = pc.if_else(is_number, values, None)
    if pa.types.is_integer(values.type) or not pa.types.is_integer(kind):
        return pc.cast(values, kind, safe=False)
    numbers = pc.cast(values, pa.float64(), safe=False)
    is_whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), _EXACT))
    return pc.cast(pc.if_else(is_whole, numbers, None), kind)


def text_of_csv(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a text column of a CSV; in one of numbers, words for absent ones are null and ``17850.0`` is ``17850``."""
    bare = pc.utf8_trim_whitespace(values)
    known = pc.if_else(pc.is_in(bare, pa.array(pa_csv.ConvertOptions().null_values)), None, bare)
    if not pc.all(pc.match_substring_regex(known, r"^-?\d+(\.\d+)?$")).as_py():
        return values
    are_floats = pc.all(
        pc.match_substring_regex(known, r"\.0$")
    ).as_py()  # as pandas writes integers some of which are absent
    return pc.replace_substring_regex(known, r"\.0$", "") if are_floats else known


def _names(fields: Iterable[pa.Field], prefix: str = "") -> Iterable[str]:
    for field in fields:
        if pa.types.is_struct(field.type):
            yield from _names(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name
