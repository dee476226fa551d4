"""Golden files: compared by tests, rewritten only by `make golden`."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "contract" / "golden"


def assert_golden(name: str, actual: str) -> None:
    """Compare `actual` with a golden file, or rewrite the file under `make golden`."""
    path = FOLDER / name
    if os.environ.get("AFTERCLICK_GOLDEN") == "1":  # noqa: TID251 - a switch of the test run
        path.write_text(actual, encoding="utf-8")
    assert path.exists(), f"{path} is missing: run `make golden` and review it"
    assert actual == path.read_text(encoding="utf-8")
