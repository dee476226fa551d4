"""Files of a catalogue or of customers -> tables with our column names, customers by pseudonym."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from afterclick.connectors.dimension_tables import KEYS
from afterclick.connectors.subject_store import SubjectStore
from afterclick.errors import SchemaMismatchError, SettingsError
from afterclick.pseudonyms import RawId
from afterclick.recorded_columns import as_text, find_column, refuse_absent, refuse_repeated
from afterclick.recorded_logs import read_file
from afterclick.schemas import TABLES
from afterclick.vocabulary import Purpose


def read_dimension_mapping(path: Path | None, table: str) -> dict[str, str]:
    """Read a mapping file, the file's own column names by ours; None renames nothing.

    Raises
    ------
    SettingsError
        If the file cannot be read or is not a mapping of the table's columns.
    """
    if path is None:
        return {}
    known = [name for name in TABLES[table].names if name != "updated_at"]
    try:
        renamed = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        message = f"mapping {path} cannot be read: {error}. It is YAML in UTF-8, as `{KEYS[table]}: sku`."
        raise SettingsError(message) from error
    if not isinstance(renamed, dict) or not all(isinstance(name, str) for name in renamed.values()):
        message = f"mapping {path} is not one of our column names to the file's own, as `{KEYS[table]}: sku`"
        raise SettingsError(message)
    if unknown := [str(name) for name in renamed if name not in known]:
        message = f"mapping {path}: {', '.join(unknown)} is no column of {table}; those are {', '.join(known)}"
        raise SettingsError(message)
    return renamed


def read_dimension_file(path: Path, table: str, renamed: dict[str, str]) -> pa.Table:
    """Read a Parquet, CSV or JSON Lines file with the columns of a dimension table.

    Parameters
    ----------
    renamed
        The file's own name by ours.

    Raises
    ------
    SchemaMismatchError
        If it has no key column or none that `renamed` names, or a value has another type.
    """
    kinds = {
        "string": pa.string(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    wanted = {field.name: kinds[field.dataType.simpleString()] for field in TABLES[table]}
    names = {name: renamed.get(name, name) for name in wanted}
    source = read_file(path, {names[name] for name, kind in wanted.items() if kind == pa.string()})
    refuse_repeated(path, source, names.values())
    refuse_absent(path, source, renamed, needed={KEYS[table]})
    key, size = KEYS[table], len(source)
    if find_column(source, names[key]) is None:
        message = f"{path} has no column for {key}; it has {', '.join(source.schema.names)}. Name it in a mapping (--mapping)."
        raise SchemaMismatchError(message)
    columns = {}
    for name, kind in wanted.items():
        values = find_column(source, names[name])
        try:
            if values is None:
                columns[name] = pa.nulls(size, kind)
            else:
                columns[name] = as_text(values) if kind == pa.string() else pc.cast(values, kind)
        except (pa.ArrowException, ValueError) as error:
            message = f"{path}: column {names[name]} does not fit {name} ({kind}): {error}"
            raise SchemaMismatchError(message) from error
    return pa.table(columns)


def keep_allowed(customers: pa.Table, store: SubjectStore) -> pa.Table:
    """Replace raw `subject_id` by pseudonyms; who is not known or did not allow personalisation is left out."""
    found = [store.find(RawId("user", name)) if name else None for name in customers["subject_id"].to_pylist()]
    allowed = [person.subject_id if person and person.allows(Purpose.PERSONALISATION) else None for person in found]
    position = customers.schema.get_field_index("subject_id")
    known = customers.set_column(position, "subject_id", pa.array(allowed, pa.string()))
    return known.filter(pc.is_valid(known["subject_id"]))
