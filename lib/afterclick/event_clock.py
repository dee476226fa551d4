"""How far event time has come: the watermark of each message follows from what its Kafka partition brought before it.

It depends on the order in Kafka alone, never on how messages were cut into batches: a replay from the
first offset calls the same events late (docs/decisions/0010-late-events.md).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple


class Position(NamedTuple):
    """A Kafka partition."""

    topic: str
    kafka_partition: int


class OffsetRange(NamedTuple):
    """What a batch read of one partition (`schemas.OFFSET_RANGE`)."""

    topic: str
    kafka_partition: int
    from_offset: int
    until_offset: int
    newest_event_at: datetime | None

    @property
    def position(self) -> Position:
        """The partition it belongs to."""
        return Position(self.topic, self.kafka_partition)


Clocks = Mapping[Position, datetime]
"""Newest time of a valid event so far, by partition."""


def advance_clocks(clocks: Clocks, ranges: Iterable[OffsetRange]) -> dict[Position, datetime]:
    """Return the clocks after a batch."""
    moved = dict(clocks)
    for found in ranges:
        if found.newest_event_at is not None:
            moved[found.position] = max(found.newest_event_at, moved.get(found.position, found.newest_event_at))
    return moved


class Past(NamedTuple):
    """What a query has read before a batch: event time by partition, and how far an earlier checkpoint had come."""

    clocks: Clocks
    seen_until: Mapping[Position, int]

    def has_read(self, ranges: Iterable[OffsetRange]) -> bool:
        """Tell whether an earlier checkpoint generation has read any of these offsets."""
        return any(found.from_offset < self.seen_until.get(found.position, 0) for found in ranges)


class EventClock:
    """The past of a query's next batch, kept between batches so that the ledger is read only at the start."""

    def __init__(self) -> None:
        self._next: tuple[int, Past] | None = None

    def before(self, batch_id: int, read: Callable[[], Past]) -> Past:
        """Return the past of a batch; `read` looks it up when the batch before was not seen here."""
        if self._next is None or self._next[0] != batch_id:
            return read()
        return self._next[1]

    def advance(self, batch_id: int, past: Past, ranges: Iterable[OffsetRange]) -> None:
        """Remember the past of the batch that follows."""
        self._next = (batch_id + 1, Past(advance_clocks(past.clocks, ranges), past.seen_until))
