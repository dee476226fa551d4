"""Log lines as text and as JSON; the id of a request in its answer and in its lines."""

import json
import logging
import sys

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from afterclick.logs import JsonFormatter, TextFormatter, configure_logging, request_id
from afterclick.request_ids import RequestIds
from afterclick.setting_sections import LogSettings

logger = logging.getLogger("afterclick.test")


def record(message: str, *arguments: object) -> logging.LogRecord:
    made = logging.LogRecord("afterclick.x", logging.INFO, __file__, 1, message, arguments, None)
    made.created, made.msecs = 1_795_561_501.25, 250.0
    return made


def test_json_line_has_the_messages_pairs_as_fields() -> None:
    line = json.loads(JsonFormatter().format(record("batch done query=%s rows=%d", "ingest_events", 7)))

    assert line == {
        "time": "2026-11-24T23:05:01.250Z",
        "level": "INFO",
        "logger": "afterclick.x",
        "message": "batch done query=ingest_events rows=7",
        "query": "ingest_events",
        "rows": "7",
    }


def test_pairs_of_a_message_do_not_replace_the_lines_own_fields() -> None:
    line = json.loads(JsonFormatter().format(record('level=none time=0 message="x\n"')))

    assert (line["level"], line["time"]) == ("INFO", "2026-11-24T23:05:01.250Z")


def test_exception_is_inside_the_one_line() -> None:
    failed = record("failed")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        failed.exc_info = sys.exc_info()

    text = JsonFormatter().format(failed)

    assert "\n" not in text
    assert "ZeroDivisionError" in json.loads(text)["exception"]


def test_text_line_is_utc_with_the_request_at_its_end() -> None:
    token = request_id.set("abc")
    try:
        line = TextFormatter().format(record("lists updated written=%d", 3))
    finally:
        request_id.reset(token)

    assert line == "2026-11-24T23:05:01.250Z INFO afterclick.x lists updated written=3 request_id=abc"


@pytest.mark.parametrize(
    ("sent", "is_kept"),
    [("0123456789abcdef", True), ("short", False), ("x" * 65, False), ("ada@example.org", False), (None, False)],
)
def test_a_request_has_an_id_that_its_log_lines_carry(sent: str | None, is_kept: bool) -> None:
    app = FastAPI()
    app.add_middleware(RequestIds)

    @app.get("/")
    async def root() -> dict[str, str | None]:
        return {"logged": request_id.get()}

    answer = TestClient(app).get("/", headers={"X-Request-ID": sent} if sent else {})

    own = answer.headers["x-request-id"]
    assert answer.json() == {"logged": own}
    assert (own == sent) is is_kept
    assert request_id.get() is None


def test_configured_process_writes_json_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        configure_logging(LogSettings(format="json"))
        logger.info("hello rows=%d", 1)
    finally:
        root.handlers[:] = kept[0]
        root.setLevel(kept[1])

    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["rows"] == "1"
