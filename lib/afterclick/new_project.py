"""A project folder for one's own data: the configuration we ship, a mapping to adapt, and what to do next."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import afterclick
from afterclick.errors import SettingsError

MAPPING = Path("mappings", "my_events.yaml")
NEXT = (
    "afterclick up",
    "afterclick import my_log.csv --mapping conf/mappings/my_events.yaml",
    "afterclick evaluate split my_log.csv --mapping conf/mappings/my_events.yaml",
)
"""The first three commands in a new project."""
_README = f"""\
# Recommendations with Afterclick

`conf/mappings/my_events.yaml` says how the columns of your log (Parquet, CSV, JSON Lines) become Afterclick's: adapt it first.
Then, in this folder:

```
{NEXT[0]}
{NEXT[1]}
{NEXT[2]}
```

They start Kafka and Valkey on this machine, put your history through the checks into tables, and say how good lists would be.
When something does not work, `afterclick doctor` says what and how to mend it.

| file | what |
| --- | --- |
| `conf/base.yaml`, `local.yaml`, `cluster.yaml` | settings, reasons beside them; every key: `afterclick/setting_sections.py` |
| `conf/expectations/` | what is wrong with an event, an item, a customer, a row of a table |
| `conf/triggers.yaml` | when a person's behaviour fires a trigger |
| `conf/monitoring/` | Prometheus and Grafana |
| `.afterclick/` | data and generated secrets of `afterclick up`; not for git, but for your backup: it holds the pseudonym key |

Live events: `afterclick collector`, `python -m jobs.run_streams`, `afterclick serve`; `afterclick --help` lists the rest.
"""


def write_project(folder: Path) -> list[Path]:
    """Write a project; return its files, relative to the folder.

    Raises
    ------
    SettingsError
        If one of the files exists already, or cannot be written. Nothing is overwritten; when a file exists, nothing
        is written at all.
    """
    shipped = shipped_conf()
    copies = {Path("conf") / file: shipped / file for file in _copied(shipped)}
    texts = {Path("README.md"): _README, Path(".gitignore"): "/.afterclick/\n"}
    _refuse_existing(folder, [*copies, *texts])
    try:
        _write(folder, copies, texts)
    except OSError as error:
        message = f"{folder} cannot be written: {error}. Choose a folder that this user may write to, with space left."
        raise SettingsError(message) from error
    return sorted([*copies, *texts])


def shipped_conf() -> Path:
    """Return the folder ``conf`` we ship: inside an installed package, beside ``lib`` in a checkout."""
    package = Path(afterclick.__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def _copied(shipped: Path) -> list[Path]:
    files = [path.relative_to(shipped) for path in shipped.rglob("*") if path.is_file()]
    return [file for file in files if file.parts[0] != MAPPING.parts[0] or file == MAPPING]


def _refuse_existing(folder: Path, files: list[Path]) -> None:
    if existing := sorted(str(file) for file in files if (folder / file).exists()):
        told = f"{', '.join(existing[:3])}{' ...' if len(existing) > 3 else ''}"  # noqa: PLR2004 - enough to see
        message = (
            f"{folder} already has {len(existing)} of the {len(files)} files ({told}): nothing was written, because init "
            "never overwrites. Give another folder, or move these files away."
        )
        raise SettingsError(message)


def _write(folder: Path, copies: Mapping[Path, Path], texts: Mapping[Path, str]) -> None:
    for file, source in copies.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / file)
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
