"""Checks of `afterclick doctor`: disk, memory, checkpoints beside tables."""

import json
from collections.abc import Mapping
from pathlib import Path

from afterclick.local.findings import Finding, Installation, judged

LEAST_FREE_GIB = 2.0
BESIDE_SPARK_GIB = 1.0
"""Kafka, Valkey, collector and API."""
TABLES_OF = {
    "ingest_events": ("events", "ledger"),
    "build_sessions": ("sessions",),
    "enrich_events": ("enriched_items",),
}
"""Tables that a query's checkpoint vouches for."""
_SHUFFLE = "spark.sql.shuffle.partitions"
_UNITS = {"k": 2**-20, "m": 2**-10, "g": 1.0, "t": 2.0**10}


def check_disk(seen: Installation) -> Finding:
    """Compare the free space of the state folder with the least."""
    good = seen.free_gib >= LEAST_FREE_GIB
    fix = f"Keep {LEAST_FREE_GIB} GiB free: run `./spark-submit.sh maintain_tables`, or take another --state-dir."
    return Finding("disk", good, f"{seen.free_gib:.1f} GiB free at {seen.state_dir}", "" if good else fix)


def check_memory(seen: Installation) -> Finding:
    """Compare the machine's memory with what the driver may take."""
    driver = _gib(seen.spark_conf.get("spark.driver.memory", "1g"))
    good = seen.memory_gib >= driver + BESIDE_SPARK_GIB
    found = f"{seen.memory_gib:.1f} GiB, spark.driver.memory {driver:.1f} GiB"
    fix = (
        f"Lower spark.driver.memory in conf, or give the machine or container {driver + BESIDE_SPARK_GIB:.1f} GiB: the "
        "system kills processes at random otherwise."
    )
    return Finding("memory", good, found, "" if good else fix)


def _gib(text: str) -> float:
    number = text.strip().lower().removesuffix("b")
    return float(number[:-1]) * _UNITS[number[-1]] if number[-1:] in _UNITS else float(number) / 2**30


def check_checkpoints(seen: Installation) -> Finding:
    """Compare each query's checkpoint on a local disk with its tables and with the settings it is bound to."""
    if seen.settings is None:
        return Finding("checkpoints", True, "not looked at: settings do not load", "")
    tables, checkpoints = seen.settings.storage.tables, seen.settings.storage.checkpoints
    if "://" in tables + checkpoints:
        return Finding("checkpoints", True, "not looked at: not on a local disk", "")
    problems: dict[str, str] = {}
    for query, names in TABLES_OF.items():
        problems |= _mismatches(query, names, Path(tables), Path(checkpoints) / query)
    problems |= _bound_otherwise(
        "build_sessions", Path(checkpoints) / "build_sessions", seen.spark_conf
    )  # the one with state
    return judged("checkpoints", problems, f"{checkpoints} fits {tables}")


def _mismatches(query: str, names: tuple[str, ...], tables: Path, checkpoint: Path) -> dict[str, str]:
    missing = [name for name in names if not (tables / name / "_delta_log").is_dir()]
    has_begun = _newest_offsets(checkpoint) is not None
    if has_begun and missing:
        fix = (
            f"Stop the streams; restore the tables from a backup, or remove {checkpoint}: the query then reads from the "
            "beginning of Kafka. As it is, the events before would be lost without a word."
        )
        return {f"checkpoint of {query} without its tables {', '.join(missing)}": fix}
    if not has_begun and any(_was_written_by(query, tables / name) for name in names):
        fix = (
            f"Restore {checkpoint} from a backup before the streams start. If it was removed on purpose, start them: the "
            "query reads from the beginning of Kafka and recognises the events it has stored (docs/operations.md)."
        )
        return {f"{query} wrote {' and '.join(names)}, its checkpoint is gone or was reset": fix}
    return {}


def _was_written_by(query: str, table: Path) -> bool:
    """Look into a table's newest commits for the query's transactions (`delta_tables.transaction_id`)."""
    commits = sorted((table / "_delta_log").glob("*.json"))[-20:]
    return any(f'"appId":"{query}:' in commit.read_text(encoding="utf-8") for commit in commits)


def _bound_otherwise(query: str, checkpoint: Path, conf: Mapping[str, str]) -> dict[str, str]:
    newest = _newest_offsets(checkpoint)
    wanted = conf.get(_SHUFFLE)
    bound = _bound_partitions(newest) if newest else None
    if bound is None or wanted is None or bound == wanted:
        return {}
    told = f"checkpoint of {query} is bound to {_SHUFFLE}={bound}, conf says {wanted}"
    return {told: f"Set {_SHUFFLE} back to {bound}; another value needs a new checkpoint (CHANGELOG.md)."}


def _newest_offsets(checkpoint: Path) -> Path | None:
    numbers = [int(file.name) for file in (checkpoint / "offsets").glob("[0-9]*") if file.name.isdigit()]
    return checkpoint / "offsets" / str(max(numbers)) if numbers else None


def _bound_partitions(offsets: Path) -> str | None:
    lines = offsets.read_text(encoding="utf-8").splitlines()
    try:
        return str(json.loads(lines[1])["conf"][_SHUFFLE])
    except (IndexError, KeyError, ValueError):
        return None
