"""A long run in parts: each part is a run with a seed of its own, the totals stand in one small file."""

import json
import subprocess
from pathlib import Path
from typing import Any

from afterclick.faults.verdict import COUNTS

_ADDED = ("sent", "acked", "kills", "poison", "misfiled", "duplicates", "seconds", *COUNTS)


def add_run(path: Path, figures: dict[str, Any]) -> dict[str, Any]:
    """Add a run to the file and return the totals; a seed that is there already is not added twice.

    Notes
    -----
    ``upper_bound_95`` is 3 / acked: with no fault among n independent events, the true rate is below it with 95 %
    confidence ("rule of three").
    """
    parts: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["parts"] if path.exists() else []
    if figures["seed"] not in {part["seed"] for part in parts}:
        kept = (
            "seed",
            *_ADDED,
            "random_kills",
            "crash_points",
            "recovery_s",
            "recovery_s_by_program",
            "answers",
            "serving",
        )
        parts.append({"commit": _commit(), **{name: figures[name] for name in kept}})
    totals: dict[str, Any] = {name: round(sum(part[name] for part in parts), 1) for name in _ADDED}
    totals["random_kills"] = {
        name: sum(part["random_kills"].get(name, 0) for part in parts)
        for name in sorted({target for part in parts for target in part["random_kills"]})
    }
    totals["upper_bound_95"] = 3 / totals["acked"] if totals["acked"] else None
    path.write_text(json.dumps({"totals": totals, "parts": parts}, indent=1) + "\n", encoding="utf-8")
    return totals


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)  # noqa: S607
    return done.stdout.strip() or "unknown"
