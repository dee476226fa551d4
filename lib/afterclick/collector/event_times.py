"""When a message's event happened, by our clock."""

from datetime import UTC, datetime
from typing import NamedTuple

from afterclick.collector.messages import Arrival, Message, Moment, iso


class Happened(NamedTuple):
    """When it happened: as the event says it, and as milliseconds for whoever has to compare."""

    text: str
    at_ms: int
    """When it was received, where the text cannot be read; never later than that."""


def corrected_time(message: Message, arrival: Arrival) -> Happened:
    """Return when it happened by our clock: ``received - (sent - original)``.

    A time that cannot be read is passed on as it is: the suite quarantines it.

    References
    ----------
    Segment spec, "Timestamps in Segment".
    """
    original, received_at = message.original_timestamp or message.timestamp, arrival.received_at
    if original is None:
        return Happened(arrival.received_text, _milliseconds(_cut(received_at)))
    happened, sent = _read_time(original), _read_time(message.sent_at or arrival.sent_at)
    if happened is None:
        return Happened(str(original), _milliseconds(received_at))
    try:
        corrected = _cut(received_at - (sent - happened) if sent else happened)
        return Happened(iso(corrected), _milliseconds(min(corrected, received_at)))
    except OverflowError:
        readable = isinstance(original, str)
        return Happened(str(original), _milliseconds(min(happened, received_at) if readable else received_at))


def _cut(moment: datetime) -> datetime:
    """Return the moment as `iso` says it: with whole milliseconds."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _read_time(value: Moment) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else None
        return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
