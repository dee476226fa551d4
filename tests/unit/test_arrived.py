"""What the narrow rows of a batch say, without Spark: order of arrival, and repetition found by hash but decided by id."""

import random

import numpy as np
import pyarrow as pa
import pytest

from afterclick.arrived import UNORDERED, Arrived, as_time, as_us, summarise
from afterclick.decided_fates import _repeats
from afterclick.event_clock import OffsetRange, Position
from afterclick.fate_rules import NEVER
from builders import NOW

NOW_US = as_us(NOW)
HOUR_US = 3_600_000_000


def make_arrived(rows: list[tuple[int, int, str, int]], *, hashes: int = 1_000, fate: str = "events") -> Arrived:
    """Rows of partition, time on Kafka, id and payload, ordered by partition; few `hashes` make ids share one."""
    ids, size = [event_id for _, _, event_id, _ in rows], len(rows)
    return Arrived(
        positions=[Position("events", number) for number in range(3)],
        partition=np.array([row[0] for row in rows], np.int64),
        offset=np.arange(size),
        kafka_us=np.array([row[1] for row in rows], np.int64),
        event_us=np.full(size, NOW_US),
        received_us=np.full(size, NOW_US),
        is_valid=np.ones(size, np.bool_),
        fate=np.full(size, fate),
        event_id=pa.chunked_array([pa.array(ids, pa.string())]),
        id_hash=np.array([sum(map(ord, one)) % hashes for one in ids], np.int64),
        payload_hash=np.array([row[3] for row in rows], np.int64),
    )


@pytest.mark.parametrize("hashes", [1_000, 2])
@pytest.mark.parametrize("seed", range(30))
def test_repeats_are_decided_by_id_and_payload_whatever_the_hashes(seed: int, hashes: int) -> None:
    draw = random.Random(seed)
    rows = sorted(
        (draw.randrange(3), draw.randrange(5), draw.choice("abcdefgh"), draw.choice([-7, 0, 2**60]))
        for _ in range(draw.randrange(20))
    )
    stored = {(draw.choice("abcdxyz"), draw.choice([-7, 0, 5])) for _ in range(draw.randrange(6))}
    asked = np.array([row for row, (*_, event_id, _) in enumerate(rows) if event_id < "f"], np.int64)
    stored = {pair for pair in stored if pair[0] in {rows[row][2] for row in asked}}
    said = {row[2:] for row in rows}
    met = {(event_id, payload if (event_id, payload) in said else None) for event_id, payload in stored}
    seen: set[tuple[str, int]] = set(stored)
    first: dict[str, int | None] = {event_id: None for event_id, _ in stored}
    expected = {}
    for row in sorted(range(len(rows)), key=lambda row: rows[row][1]):
        _, _, event_id, payload = rows[row]
        expected[row] = ((event_id, payload) in seen, first.setdefault(event_id, payload) != payload)
        seen.add((event_id, payload))
    arrived = make_arrived(rows, hashes=hashes)
    table = pa.table(
        {
            "event_id": pa.array([event_id for event_id, _ in met], pa.string()),
            "said": pa.array([payload for _, payload in met], pa.int64()),
        }
    )

    is_repeated, is_id_reused = _repeats(arrived, np.ones(len(rows), np.bool_), asked, table)

    assert dict(enumerate(zip(is_repeated.tolist(), is_id_reused.tolist(), strict=True))) == expected


def test_summarise_tells_offsets_newest_valid_event_and_the_hour_of_the_oldest() -> None:
    arrived = make_arrived([(0, NOW_US, "a", 1), (1, NOW_US + 5, "b", 1), (1, NOW_US - 5, "c", 1)])
    arrived = Arrived(**{**vars(arrived), "positions": arrived.positions[:2]})
    arrived.event_us[:] = [NOW_US, NOW_US + 3, NOW_US + 9]
    arrived.received_us[:] = [NEVER, NOW_US - HOUR_US + 1, NOW_US - 5 * HOUR_US]
    arrived.is_valid[2] = False

    arrivals = summarise(arrived)

    newest = [OffsetRange("events", 0, 0, 1, NOW), OffsetRange("events", 1, 1, 3, as_time(NOW_US + 3))]
    assert arrivals.ranges == newest
    assert (arrivals.first_kafka_at, arrivals.last_kafka_at) == (as_time(NOW_US - 5), as_time(NOW_US + 5))
    assert arrivals.oldest_received_at == as_time(NOW_US - HOUR_US)


def test_summarise_when_no_message_is_valid_or_there_is_none() -> None:
    arrived = make_arrived([(0, NOW_US, "a", 1), (1, NOW_US, "a", 1), (2, NOW_US, "a", 1)])
    arrived.is_valid[:] = False

    assert [found.newest_event_at for found in summarise(arrived).ranges] == [None] * 3
    assert summarise(arrived).oldest_received_at is None
    assert summarise(make_arrived([])) == UNORDERED
