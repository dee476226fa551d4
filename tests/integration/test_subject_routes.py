"""Consent and erasure over HTTP: only with an admin key, ids in bodies, lists gone within seconds."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from afterclick.access_keys import Scope
from afterclick.collector.app import create_app
from afterclick.collector.event_sink import EventSink
from afterclick.connectors.erasure_store import ErasureStore
from afterclick.connectors.key_store import KeyStore
from afterclick.connectors.subject_store import open_subject_store
from afterclick.consent_rules import Claim
from afterclick.pseudonyms import RawId
from afterclick.setting_sections import KeySettings
from afterclick.settings import Settings

AT = datetime(2026, 11, 24, tzinfo=UTC)
ADA = RawId("user", "ada")
WITHDRAW = {"id": "ada", "consent": {"personalisation": False}}


class NoSink:
    """Takes no events: these routes send none."""

    def close(self) -> None:
        pass


@pytest.fixture
def keys(live: Settings, tmp_path: Path) -> dict[str, str]:
    store = KeyStore(f"sqlite:///{tmp_path}/keys.db")
    found = {scope.value: store.create([scope], AT)[1] for scope in (Scope.INGEST, Scope.ADMIN)}
    store.close()
    open_subject_store(live).admit([Claim(ADA, {"analytics": True, "personalisation": True}, 1)])
    return found


@pytest.fixture
def client(live: Settings, tmp_path: Path, keys: dict[str, str]) -> TestClient:
    assert keys  # made before the app reads them
    url: Any = f"sqlite:///{tmp_path}/keys.db"
    settings = live.model_copy(update={"keys": KeySettings(url=url)})
    sink: EventSink = NoSink()  # type: ignore[assignment]  # see its docstring
    return TestClient(create_app(settings, sink, lambda: AT))


def test_consent_is_changed_with_an_admin_key(client: TestClient, keys: dict[str, str], live: Settings) -> None:
    assert client.post("/v1/subjects/consent", json=WITHDRAW, auth=(keys["admin"], "")).json() == {"success": True}

    person = open_subject_store(live).find(ADA)
    assert person is not None
    assert (person.allows("analytics"), person.allows("personalisation")) == (True, False)
    assert open_subject_store(live).unfollowed() == []


@pytest.mark.parametrize("path", ["/v1/subjects/consent", "/v1/subjects/erase"])
@pytest.mark.parametrize("key", ["ingest", "unknown", None])
def test_no_other_key_may(client: TestClient, keys: dict[str, str], live: Settings, path: str, key: str | None) -> None:
    auth = (keys.get(key, key), "") if key else None
    body = WITHDRAW if path.endswith("consent") else {"id": "ada"}

    assert client.post(path, json=body, auth=auth).status_code == 401

    person = open_subject_store(live).find(ADA)
    assert person is not None
    assert person.allows("personalisation")


def test_erasure_answers_its_receipt_and_once(client: TestClient, keys: dict[str, str], live: Settings) -> None:
    auth = (keys["admin"], "")
    answer = client.post("/v1/subjects/erase", json={"id": "ada"}, auth=auth).json()
    again = client.post("/v1/subjects/erase", json={"id": "ada"}, auth=auth).json()

    assert open_subject_store(live).find(ADA) is None
    assert ErasureStore(open_subject_store(live)).receipts(answer["erasure_id"])["subject_store"].clean_ms
    assert again == {"success": True, "erasure_id": None}


@pytest.mark.parametrize("body", [{}, {"id": ""}, {"id": "ada"}, {"id": "ada", "consent": {"ads": True}}])
def test_a_wrong_body_is_422(client: TestClient, keys: dict[str, str], body: dict[str, Any]) -> None:
    assert client.post("/v1/subjects/consent", json=body, auth=(keys["admin"], "")).status_code == 422
