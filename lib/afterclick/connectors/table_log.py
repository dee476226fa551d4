"""Whether a Delta table was left alone since a writer's own commit, asked of the table's log without a Spark job."""

import json
from typing import NamedTuple

from pyarrow import fs

from afterclick.connectors.delta_tables import filesystem_of, table_path
from afterclick.settings import Settings


class Commit(NamedTuple):
    """A version of a table, and the time and size of its file in the log: a table made anew has others."""

    version: int
    modified_ns: int
    size: int


def newest_commit(settings: Settings, table: str) -> Commit | None:
    """Return the newest commit, by listing the log; None when it names none."""
    filesystem, folder = _log(settings, table)
    files = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    versions = [int(name) for name, _, kind in (file.base_name.partition(".") for file in files) if kind == "json"]
    return _commit(filesystem, folder, max(versions)) if versions else None


def is_newest(settings: Settings, table: str, commit: Commit) -> bool:
    """Tell whether nothing was committed after a commit, by two questions."""
    filesystem, folder = _log(settings, table)
    is_same = _commit(filesystem, folder, commit.version) == commit
    return is_same and _commit(filesystem, folder, commit.version + 1) is None


def own_commit(settings: Settings, table: str, before: Commit, transaction: tuple[str, int]) -> Commit | None:
    """Return the commit next to `before` if it is a transaction's and the newest one; else None.

    Parameters
    ----------
    transaction
        Delta's ``txnAppId`` and ``txnVersion``.
    """
    filesystem, folder = _log(settings, table)
    commit = _commit(filesystem, folder, before.version + 1)
    if commit is None or not is_newest(settings, table, commit):
        return None
    with filesystem.open_input_stream(_file(folder, commit.version)) as stream:
        actions = [json.loads(line) for line in stream.read().splitlines() if line]
    told = [(action["txn"]["appId"], action["txn"]["version"]) for action in actions if "txn" in action]
    return commit if transaction in told else None


def _log(settings: Settings, table: str) -> tuple[fs.FileSystem, str]:
    filesystem, path = filesystem_of(table_path(settings, table))
    return filesystem, f"{path}/_delta_log"


def _commit(filesystem: fs.FileSystem, folder: str, version: int) -> Commit | None:
    file = filesystem.get_file_info(_file(folder, version))
    return Commit(version, file.mtime_ns or 0, file.size or 0) if file.type == fs.FileType.File else None


def _file(folder: str, version: int) -> str:
    return f"{folder}/{version:020d}.json"
