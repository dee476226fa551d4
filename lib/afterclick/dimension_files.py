"""Files of a catalogue or of customers -> tables with our column names, customers by pseudonym."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from afterclick.connectors.dimension_tables import KEYS
from afterclick.connectors.subject_store import SubjectStore
from afterclick.errors import ContractError
from afterclick.pseudonyms import RawId
from afterclick.recorded_logs import read_file
from afterclick.schemas import TABLES
from afterclick.vocabulary import Purpose


def read_dimension_file(path: Path, table: str, renamed: dict[str, str]) -> pa.Table:
    """Read a Parquet, CSV or JSON Lines file with the columns of a dimension table.

    Parameters
    ----------
    renamed
        The file's own name by ours.

    Raises
    ------
    ContractError
        If it has no key column, or a value has another type.
    """
    source = read_file(path)
    key, size = KEYS[table], len(source)
    if renamed.get(key, key) not in source.schema.names:
        message = f"{path} has no column for {key}; it has {', '.join(source.schema.names)}. Name it in a mapping (--mapping)."
        raise ContractError(message)
    kinds = {
        "string": pa.string(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    columns = {}
    for field in TABLES[table]:
        name, kind = renamed.get(field.name, field.name), kinds[field.dataType.simpleString()]
        try:
            columns[field.name] = pc.cast(source[name], kind) if name in source.schema.names else pa.nulls(size, kind)
        except pa.ArrowInvalid as error:
            message = f"{path}: column {name} does not fit {field.name} ({kind}): {error}"
            raise ContractError(message) from error
    return pa.table(columns)


def keep_allowed(customers: pa.Table, store: SubjectStore) -> pa.Table:
    """Replace raw `subject_id` by pseudonyms; who is not known or did not allow personalisation is left out."""
    found = [store.find(RawId("user", name)) if name else None for name in customers["subject_id"].to_pylist()]
    allowed = [person.subject_id if person and person.allows(Purpose.PERSONALISATION) else None for person in found]
    position = customers.schema.get_field_index("subject_id")
    known = customers.set_column(position, "subject_id", pa.array(allowed, pa.string()))
    return known.filter(pc.is_valid(known["subject_id"]))
