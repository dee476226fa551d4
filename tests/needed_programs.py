"""Programs that tests run for real and that a machine may lack."""

import os
import shutil

import pytest


def needs(program: str, *, install: str) -> str:
    """Return a program's path; without it a test is skipped, in CI it fails."""
    found = shutil.which(program)
    if found is None:
        reason = f"{program} is not on this machine; {install}"
        if os.environ.get("CI") == "true":  # noqa: TID251
            pytest.fail(reason)
        pytest.skip(reason)
    return found
