"""The narrow rows of a batch at the driver: what order, repetition and the ledger need of each message, no contents.

About 110 bytes a message while a batch is decided, bounded by ``kafka.bulk_max_offsets_per_trigger``.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.arrow_state import encode
from afterclick.event_clock import OffsetRange, Position
from afterclick.fate_rules import NEVER, Flags, Ints
from afterclick.recent_ids import HOUR_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Arrivals(NamedTuple):
    """What is said of a batch: offsets by partition, and the receive times of its valid events."""

    ranges: list[OffsetRange]
    first_kafka_at: datetime | None
    last_kafka_at: datetime | None
    oldest_received_at: datetime | None


UNORDERED = Arrivals([], None, None, None)
"""Of messages that do not come in Kafka's order: there are no offsets to account for."""


@dataclass(frozen=True)
class Arrived:
    """One row a message, ordered by Kafka partition and offset; times in microseconds, `NEVER` for null.

    `partition` is a number of `positions`; `fate` is the first one, before order and repetition are known.
    """

    positions: list[Position]
    partition: Ints
    offset: Ints
    kafka_us: Ints
    event_us: Ints
    received_us: Ints
    is_valid: Flags
    fate: npt.NDArray[np.str_]
    event_id: pa.ChunkedArray
    id_hash: Ints
    payload_hash: Ints

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self.offset)

    @property
    def received_hours(self) -> Ints:
        """Hours since the epoch in which the messages were received."""
        return self.received_us // HOUR_US


def collect_arrived(judged: DataFrame) -> Arrived:
    """Bring the narrow rows of a batch to the driver, in one Spark job.

    Parameters
    ----------
    judged
        Rows of `schemas.DECODED_EVENT` with `failed_rules`, `payload_hash` and their first `fate`.
    """
    rows = judged.select(
        "topic",
        "kafka_partition",
        "kafka_offset",
        *[F.unix_micros(name).alias(name) for name in ("kafka_at", "event_at", "received_at")],
        (F.size("failed_rules") == 0).alias("is_valid"),
        "fate",
        "event_id",
        F.xxhash64("event_id").alias("id_hash"),
        "payload_hash",
    ).toArrow()
    (topic,), topics = encode(rows["topic"], in_order=True)
    (fate,), fates = encode(rows["fate"])
    partition = rows["kafka_partition"].to_numpy().astype(np.int64)
    order = np.lexsort((rows["kafka_offset"].to_numpy(), partition, topic))
    places, numbers = np.unique(np.stack([topic, partition], axis=1), axis=0, return_inverse=True)
    ints = {
        name: pc.fill_null(rows[name], NEVER).to_numpy()[order]
        for name in ("kafka_offset", "kafka_at", "event_at", "received_at", "id_hash", "payload_hash")
    }
    return Arrived(
        positions=[Position(topics[topic].as_py(), partition) for topic, partition in places.tolist()],
        partition=numbers.reshape(-1)[order].astype(np.int64),
        offset=ints["kafka_offset"],
        kafka_us=ints["kafka_at"],
        event_us=ints["event_at"],
        received_us=ints["received_at"],
        is_valid=rows["is_valid"].to_numpy()[order],
        fate=np.array(fates.to_pylist(), np.str_)[fate[order]],
        event_id=rows["event_id"].take(pa.array(order)),
        id_hash=ints["id_hash"],
        payload_hash=ints["payload_hash"],
    )


def summarise(arrived: Arrived) -> Arrivals:
    """Return what the ledger says of a batch's messages, and how far back a repetition may lie, in whole hours."""
    if not len(arrived):
        return UNORDERED
    bounds = np.searchsorted(arrived.partition, np.arange(len(arrived.positions) + 1))
    newest = np.maximum.reduceat(np.where(arrived.is_valid, arrived.event_us, NEVER), bounds[:-1])
    first, until = arrived.offset[bounds[:-1]], arrived.offset[bounds[1:] - 1] + 1
    received = arrived.received_us[arrived.is_valid & (arrived.received_us != NEVER)]
    ranges = [
        OffsetRange(*position, int(start), int(end), as_time(int(at)))
        for position, start, end, at in zip(arrived.positions, first, until, newest, strict=True)
    ]
    return Arrivals(
        ranges,
        as_time(int(arrived.kafka_us.min())),
        as_time(int(arrived.kafka_us.max())),
        as_time(int(received.min()) // HOUR_US * HOUR_US) if len(received) else None,
    )


def as_us(time: datetime | None) -> int:
    """Return microseconds since the epoch, `NEVER` for None."""
    return NEVER if time is None else (time - _EPOCH) // timedelta(microseconds=1)


def as_time(us: int) -> datetime | None:
    """Return the time of microseconds since the epoch, None for `NEVER`."""
    return None if us == NEVER else _EPOCH + timedelta(microseconds=us)
