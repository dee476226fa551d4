"""Tests that take minutes: they run in `make nightly` and not in `make test`."""

import os

import pytest

NIGHTLY = pytest.mark.skipif(
    os.environ.get("AFTERCLICK_NIGHTLY") != "1",  # noqa: TID251
    reason="takes minutes: set AFTERCLICK_NIGHTLY=1",
)
