"""What a checkpoint cannot do without: written beside it at its first start, compared at every later one.

Spark keeps the state of an operator as bytes and the number of shuffle partitions of the first start. Neither another
layout of the bytes nor another number of shards is noticed by it: the state would be read wrongly, or not found.
"""

import json
from collections.abc import Mapping

from pyarrow import fs

from afterclick import __version__
from afterclick.connectors.delta_tables import filesystem_of
from afterclick.errors import SettingsError
from afterclick.settings import Settings

_FILE = "bound_to.json"
_ADVICE = (
    "Set the values back, or start the version that began it. To go on with the new ones, stop the query, move the folder "
    "away and start again: it reads from the beginning of Kafka and what is stored already is recognised; sessions "
    "older than Kafka's retention stay as they are (docs/sizes.md, 'Upgrading')."
)


def bind_checkpoint(settings: Settings, query: str, bound_to: Mapping[str, str]) -> None:
    """Write what a new checkpoint is bound to, or compare it with what it was begun with.

    Parameters
    ----------
    bound_to
        Values by name. A checkpoint from before there was this file, or before one of the names, is taken as it is.

    Raises
    ------
    SettingsError
        If a value differs: all differences at once, with the version of Afterclick that began the checkpoint.
    """
    folder = f"{settings.storage.checkpoints}/{query}"
    filesystem, path = filesystem_of(folder)
    file = f"{path}/{_FILE}"
    before = _read(filesystem, file)
    differing = [
        f"{name} {before[name]}, now {value}" for name, value in bound_to.items() if before.get(name, value) != value
    ]
    if differing:
        begun_by = before.get("version", "an older version")
        message = f"checkpoint {folder} was begun by Afterclick {begun_by} with {'; '.join(differing)}. {_ADVICE}"
        raise SettingsError(message)
    if bound_to.keys() - before.keys():
        filesystem.create_dir(path, recursive=True)
        with filesystem.open_output_stream(file) as stream:
            stream.write(json.dumps({"version": __version__, **before, **bound_to}).encode())


def _read(filesystem: fs.FileSystem, file: str) -> dict[str, str]:
    if filesystem.get_file_info(file).type != fs.FileType.File:
        return {}
    with filesystem.open_input_stream(file) as stream:
        return dict(json.loads(stream.read()))
