"""How late is late: the watermark of each message, by what its Kafka partition brought before it.

It depends on the order in Kafka alone, never on how messages were cut into batches: a replay from the
first offset calls the same events late (docs/decisions/0010-late-events.md).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


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


def with_watermark(checked: DataFrame, clocks: Clocks | None, *, watermark_minutes: int) -> DataFrame:
    """Add `watermark_at` to rows of `schemas.DECODED_EVENT` with `failed_rules`; null before the first valid event.

    Parameters
    ----------
    clocks
        Newest event time by partition before this batch; None where time has no order: then it is always null.

    Notes
    -----
    Only valid events move it: one that lies more than five minutes ahead is quarantined and moves nothing.
    The clocks travel as one map, so that every batch shares the same generated code.
    """
    if clocks is None:
        return checked.withColumn("watermark_at", F.lit(None).cast("timestamp"))
    before = Window.partitionBy("topic", "kafka_partition").orderBy("kafka_offset")
    before = before.rowsBetween(Window.unboundedPreceding, -1)
    newest = F.max(F.when(F.size("failed_rules") == 0, F.col("event_at"))).over(before)
    known = [("", None), *((_name(position), at) for position, at in sorted(clocks.items()))]
    carried = F.create_map(*[part for name, at in known for part in (F.lit(name), F.lit(at).cast("timestamp"))])
    name = F.concat_ws("/", "topic", "kafka_partition")
    newest_ever = F.greatest(newest, F.try_element_at(carried, name))
    return checked.withColumn("watermark_at", newest_ever - F.expr(f"INTERVAL {watermark_minutes} MINUTES"))


def advance_clocks(clocks: Clocks, ranges: Iterable[OffsetRange]) -> dict[Position, datetime]:
    """Return the clocks after a batch."""
    moved = dict(clocks)
    for found in ranges:
        if found.newest_event_at is not None:
            moved[found.position] = max(found.newest_event_at, moved.get(found.position, found.newest_event_at))
    return moved


def _name(position: Position) -> str:
    return f"{position.topic}/{position.kafka_partition}"


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
