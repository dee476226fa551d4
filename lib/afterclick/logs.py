"""How every process logs: to standard error, UTC, one line a record, as text or as JSON, with the request's id."""

import json
import logging
import re
import sys
import time
from contextvars import ContextVar

from afterclick.setting_sections import LogSettings

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Set by `request_ids.RequestIds` while a request is answered."""
_PAIR = re.compile(r"\b([a-z][a-z0-9_]*)=(\S+)")


def configure_logging(settings: LogSettings, level: int = logging.INFO) -> None:
    """Send this process's records to standard error in the format asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    for chatty in ("py4j", "great_expectations"):  # the latter says 200 lines at each start that concern nobody
        logging.getLogger(chatty).setLevel(logging.WARNING)


class TextFormatter(logging.Formatter):
    """``time LEVEL logger message``, then the request's id if there is one."""

    converter = time.gmtime  # type: ignore[assignment]  # a built-in: it is not bound, and takes the time only

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """Return the line without a traceback."""
        asked = request_id.get()
        line = super().formatMessage(record)
        return f"{line} request_id={asked}" if asked else line


class JsonFormatter(TextFormatter):
    """One JSON object a record; ``key=value`` pairs of the message are fields of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        message = record.getMessage()
        line = {
            **dict(_PAIR.findall(message)),
            "time": f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": message,
        }
        if asked := request_id.get():
            line["request_id"] = asked
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
