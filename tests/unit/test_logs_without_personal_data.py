"""Nothing of a person gets into the logs of collector and API, whatever a request looks like and however it ends."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from afterclick.collector import app as collector
from afterclick.collector.event_sink import OverloadedError
from afterclick.collector.messages import Event
from afterclick.connectors.subject_store import open_subject_store
from afterclick.logs import JsonFormatter
from afterclick.pseudonyms import RawId
from afterclick.serving import app as serving
from afterclick.settings import Settings

PERSON, MAIL, ADDRESS = "zz-ada-lovelace", "ada.lovelace@example.org", "203.0.113.77"
KEY = "test-write-key"


class Sink:
    """Keeps nothing; fails when told to."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def publish(self, events: Sequence[Event]) -> None:
        if self._error and events:
            raise self._error

    def is_ready(self) -> bool:
        return True

    def close(self) -> None:
        pass


@pytest.mark.parametrize("error", [None, OverloadedError("full"), RuntimeError("broken")])
def test_no_line_of_the_services_names_a_person(
    error: Exception | None, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sending = TestClient(
        collector.create_app(settings, Sink(error), lambda: datetime.now(UTC)), raise_server_exceptions=False
    )
    asking = TestClient(serving.create_app(settings), raise_server_exceptions=False)
    headers = {"X-Forwarded-For": ADDRESS, "User-Agent": f"browser of {PERSON}", "X-Request-ID": MAIL}
    granted = {"consent": {"categoryPreferences": {"analytics": True, "personalisation": True}}, "ip": ADDRESS}
    good = {"userId": PERSON, "event": "Product Viewed", "properties": {"product_id": "mug"}, "context": granted}
    bodies = [
        good,
        {**good, "traits": {"email": MAIL}},
        {**good, "timestamp": PERSON},
        {"userId": PERSON},
        [MAIL],
        MAIL,
    ]

    with sending, asking:
        for path in ("/v1/track", "/v1/identify", "/v1/batch", "/v1/cloudevents"):
            for body in bodies:
                for key in (KEY, "wrong"):
                    sending.post(path, json=body, auth=(key, ""), headers=headers)
        sending.post("/v1/track", content=f'{{"userId": "{PERSON}', auth=(KEY, ""), headers=headers)
        for name in (PERSON, MAIL):
            asking.get(f"/v1/recommendations/{name}", headers=headers)
            asking.get("/status/person", params={"user_id": name}, headers=headers)

    person = open_subject_store(settings).find(RawId("user", PERSON))
    assert person is not None, "the good message was not taken"
    text = "\n".join(JsonFormatter().format(record) for record in caplog.records if record.name != "httpx")
    assert text, "nothing was logged: the scan would find nothing either"
    for personal in (PERSON, MAIL, ADDRESS, person.subject_id):
        assert personal not in text
