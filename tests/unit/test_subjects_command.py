"""``afterclick subjects`` tells scripts the truth: nothing is clean before every store was searched."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from afterclick.cli import app
from afterclick.connectors.erasure_store import ErasureStore, Receipt
from afterclick.connectors.subject_store import open_subject_store
from afterclick.consent_rules import Claim
from afterclick.pseudonyms import RawId
from afterclick.settings import load_settings
from conftest import installation_variables

ADA = RawId("user", "ada")


@pytest.fixture
def erasures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ErasureStore:
    for name, value in installation_variables(tmp_path).items():
        monkeypatch.setenv(name, value)
    return ErasureStore(open_subject_store(load_settings("local")))


def test_an_erasure_is_clean_when_no_store_is_left_to_search_and_all_of_them_say_so(erasures: ErasureStore) -> None:
    erasures._store.admit([Claim(ADA, {"analytics": True}, 1)])  # noqa: SLF001 - the same database
    begun = erasures.begin(ADA)
    assert begun is not None

    def is_clean() -> bool:
        told = CliRunner().invoke(app, ["subjects", "receipt", begun.erasure_id, "--json"])
        return bool(json.loads(told.stdout)["is_clean"])

    assert not is_clean()
    erasures.note(begun.erasure_id, Receipt("events", 1, None, "old files go later"))
    erasures.end_search(begun.erasure_id)
    assert not is_clean()
    erasures.note(begun.erasure_id, Receipt("events", 1, 2, "gone"))
    assert is_clean()
    assert CliRunner().invoke(app, ["subjects", "receipt", "none", "--json"]).exit_code == 2
