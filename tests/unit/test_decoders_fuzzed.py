"""Hostile bytes into the decoders: the kept corpus, and what hypothesis thinks of; scripts/fuzz_decoders.py does more."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import GRANTED, TARGETS, run_one

CORPUS = sorted(Path("tests/fuzz_corpus").iterdir())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
NAMES = st.sampled_from([
    "batch", "data", "type", "event", "userId", "anonymousId", "messageId", "properties", "products", "items", "context",
    "consent", "categoryPreferences", "tcString", "google", "page", "referrer", "originalTimestamp", "timestamp", "sentAt",
    "userAgent", "ip", "e", "ue_pr", "co", "cx", "schema", "specversion", "id", "source", "time", "subject", "price", "url",
])  # fmt: skip
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=20
)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name[:16])
def test_corpus_is_refused_or_read(path: Path) -> None:
    run_one(path.read_bytes())


def test_corpus_reaches_every_decoder() -> None:
    assert {path.read_bytes()[0] % len(TARGETS) for path in CORPUS} == set(range(len(TARGETS)))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(TARGETS) - 1), st.binary(max_size=200))
def test_any_bytes(target: int, data: bytes) -> None:
    run_one(bytes([target]) + data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 4), st.dictionaries(NAMES, JSON, max_size=8))
def test_json_with_names_of_the_formats(target: int, members: dict[str, object]) -> None:
    message = {**members, "context": {"consent": GRANTED}, "userId": "ada", "type": members.get("type", "track")}
    for sent in (members, message, {"batch": [message], "data": [message]}):
        run_one(bytes([target]) + json.dumps(sent).encode())
