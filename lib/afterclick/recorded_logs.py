"""Recorded logs -> one table with the default columns: Parquet, CSV or JSON Lines, by a mapping file.

Default columns: `subject_id`, `item_id` (strings), `event_at` (UTC), `event_type` (default ``view``), and where
the log has them `event_id`, `order_id`, `quantity`, `price`. No row is dropped: a value that does not fit
is null, and who uses the table says what becomes of it.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from afterclick.errors import SchemaMismatchError, SettingsError
from afterclick.recorded_columns import (
    as_number,
    as_text,
    explode,
    find_column,
    refuse_absent,
    refuse_repeated,
    text_of_csv,
)

REQUIRED = {"subject_id": pa.string(), "item_id": pa.string(), "event_at": pa.timestamp("us", "UTC")}
OPTIONAL = {
    "event_type": pa.string(),
    "event_id": pa.string(),
    "order_id": pa.string(),
    "quantity": pa.int64(),
    "price": pa.float64(),
}
_UNITS = {"s", "ms", "us", "ns"}


class LogMapping(BaseModel):
    """How a log's columns become the default ones; every key may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    columns: dict[str, str] = {}
    """The log's own name by default name; ``a.b`` reads field b of a struct. May also stand at the top level."""
    constants: dict[str, str] = {}
    """Default columns the log does not have, with one value for all rows, as ``event_type: purchase``."""
    event_types: dict[str, str] = {}
    """Our event type by the log's word."""
    explode: str | None = None
    """A column of lists: one row per element."""
    event_at_unit: str = "ms"
    """Unit of numeric times since the epoch: s, ms, us or ns."""
    purposes: tuple[str, ...] = ()
    """What the people in the log allowed (analytics, personalisation); said by whoever imports it."""

    @model_validator(mode="before")
    @classmethod
    def _lift_columns(cls, content: Any) -> Any:
        """Accept renames at the top level too."""
        if not isinstance(content, dict):
            return content
        flat = {key: value for key, value in content.items() if key in {*REQUIRED, *OPTIONAL}}
        rest = {key: value for key, value in content.items() if key not in flat}
        named = rest.get("columns") or {}
        return {**rest, "columns": {**flat, **named} if isinstance(named, dict) else named}

    @model_validator(mode="after")
    def _check_names(self) -> "LogMapping":
        known = {*REQUIRED, *OPTIONAL}
        if unknown := ({*self.columns, *self.constants} - known):
            message = f"{sorted(unknown)} are not default columns; those are {sorted(known)}"
            raise ValueError(message)
        if self.event_at_unit not in _UNITS:
            message = f"event_at_unit {self.event_at_unit!r} is not one of {sorted(_UNITS)}"
            raise ValueError(message)
        return self


class RecordedLog(NamedTuple):
    """A log with the default columns, and what was asked for but is not in it."""

    table: pa.Table
    absent: tuple[str, ...]


def read_mapping(path: Path | None) -> LogMapping:
    """Read a mapping file; None is the mapping of a log that has the default names.

    Raises
    ------
    SettingsError
        If the file is missing or not a mapping, listing all problems.
    """
    if path is None:
        return LogMapping()
    try:
        return LogMapping.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, ValueError, yaml.YAMLError) as error:
        message = f"mapping {path} cannot be used: {error}. Examples are in conf/mappings."
        raise SettingsError(message) from error


def read_log(path: Path, mapping: LogMapping) -> RecordedLog:
    """Read a log.

    Raises
    ------
    SchemaMismatchError
        If the file cannot be read, or has no column for a required one or for one the mapping names; tells the
        columns it has.
    """
    wanted = {**REQUIRED, **OPTIONAL}
    names = {name: mapping.columns.get(name, name) for name in wanted if name not in mapping.constants}
    texts = {own for name, own in names.items() if wanted[name] == pa.string()} - {names.get("event_at")}
    source = read_file(path, texts)
    refuse_repeated(path, source, [*names.values(), *([mapping.explode] if mapping.explode else [])])
    if mapping.explode:
        source = explode(path, source, mapping.explode)
    named = {name: own for name, own in names.items() if name in mapping.columns}
    refuse_absent(path, source, named, needed=REQUIRED)
    arrays = {name: find_column(source, own) for name, own in names.items()}
    arrays |= {name: pa.repeat(value, len(source)) for name, value in mapping.constants.items()}
    given = {name for name in wanted if arrays[name] is not None}
    if missing := [name for name in REQUIRED if name not in given]:
        message = (
            f"{path} has no column for {', '.join(missing)}; it has {', '.join(source.schema.names)}. "
            "Name them in a mapping file (--mapping), as conf/mappings/online_retail.yaml does."
        )
        raise SchemaMismatchError(message)
    columns = {}
    for name, kind in wanted.items():
        if name in given:
            try:
                columns[name] = _convert(arrays[name], kind, mapping.event_at_unit)
            except (pa.ArrowException, ValueError) as error:
                message = f"{path}: column {names.get(name)} does not fit {name}: {error}. Name another in the mapping."
                raise SchemaMismatchError(message) from error
    columns["event_type"] = _event_types(columns.get("event_type"), mapping.event_types, len(source))
    return RecordedLog(pa.table(columns), tuple(name for name in OPTIONAL if name not in given))


def read_file(path: Path, texts: Collection[str]) -> pa.Table:
    """Return the table of a file by its ending.

    Parameters
    ----------
    texts
        The file's names of columns of text: a CSV does not say so, and ids would be read as numbers.

    Raises
    ------
    SchemaMismatchError
        If the ending is unknown or the file cannot be read.
    """
    readers = {
        ".parquet": pq.read_table,
        ".csv": partial(_read_csv, texts=texts),
        ".jsonl": pa_json.read_json,
        ".ndjson": pa_json.read_json,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        message = f"{path} ends in {path.suffix!r}; a log is one of {', '.join(readers)}"
        raise SchemaMismatchError(message)
    try:
        source = reader(path)
        read = {*texts, *(name.split(".")[0] for name in texts)}
        for name, column in zip(source.schema.names, source.columns, strict=True):
            if name in read:
                column.validate(full=True)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        is_encoding = isinstance(error, UnicodeDecodeError) or "UTF8" in str(error)
        message = f"{path} cannot be read as {path.suffix}: {error}" + (". Save it as UTF-8." if is_encoding else "")
        raise SchemaMismatchError(message) from error
    return source


def _read_csv(path: Path, texts: Collection[str]) -> pa.Table:
    kinds = dict.fromkeys(texts, pa.string())
    source = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=kinds))
    for place, name in enumerate(source.schema.names):
        if name in texts:
            source = source.set_column(place, name, text_of_csv(source.column(place)))
    return source


def _convert(values: Any, kind: pa.DataType, unit: str) -> Any:
    if kind == REQUIRED["event_at"]:
        return _as_utc(values, unit)
    if kind == pa.string():
        text = pc.utf8_trim_whitespace(as_text(values))
        return pc.if_else(pc.equal(text, ""), None, text)
    return as_number(values, kind)


def _as_utc(values: Any, unit: str) -> Any:
    target = REQUIRED["event_at"]
    if pa.types.is_date(values.type):
        values = pc.cast(values, pa.timestamp("us"))
    if pa.types.is_timestamp(values.type):
        naive = values.type.tz is None
        return pc.cast(pc.assume_timezone(values, "UTC") if naive else values, target, safe=False)
    if pa.types.is_string(values.type):
        return pc.cast(_parse_iso(values), target)
    return pc.cast(pc.cast(pc.cast(values, pa.int64(), safe=False), pa.timestamp(unit, "UTC")), target, safe=False)


def _parse_iso(values: Any) -> Any:
    import pandas as pd  # noqa: PLC0415 - only text times need it

    parsed = pd.to_datetime(values.to_pandas(), utc=True, errors="coerce", format="ISO8601")
    return pa.array(parsed.astype("datetime64[us, UTC]"))


def _event_types(values: Any, words: dict[str, str], rows: int) -> Any:
    if values is None:
        return pa.repeat("view", rows)
    if not words:
        return pc.fill_null(values, "view")
    encoded = pc.dictionary_encode(values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values)
    names = pa.array([words.get(word, word) for word in encoded.dictionary.to_pylist()], pa.string())
    return pc.fill_null(names.take(encoded.indices), "view")
