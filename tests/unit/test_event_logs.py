"""What is visible when an event is predicted: event by event, a basket at a time, and with a lag."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from afterclick.errors import SchemaMismatchError
from afterclick.event_logs import NEVER, EventLog, read_events, visible_before

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def table(*rows: tuple[str, str, float], orders: list[str] | None = None) -> pa.Table:
    columns = {
        "subject_id": [row[0] for row in rows],
        "item_id": [row[1] for row in rows],
        "event_at": pa.array([BEGIN + timedelta(seconds=row[2]) for row in rows], pa.timestamp("us", "UTC")),
        "event_type": ["view"] * len(rows),
    }
    return pa.table(columns | ({"order_id": orders} if orders else {}))


def log_of(*rows: tuple[str, str, float], orders: list[str] | None = None) -> EventLog:
    return read_events([table(*rows, orders=orders)], {"view": 1.0})[0]


def test_read_events_orders_each_log_by_time_and_puts_training_first() -> None:
    log, count = read_events([table(("ada", "b", 9), ("ada", "a", 5)), table(("bob", "c", 1))], {"view": 1.0})

    assert count == 2
    assert log.item_ids[log.items].tolist() == ["a", "b", "c"]


def test_read_events_leaves_out_types_that_do_not_count_and_refuses_when_nothing_is_left() -> None:
    views = table(("ada", "a", 1))

    with pytest.raises(SchemaMismatchError, match="a type that counts"):
        read_events([views], {"purchase": 1.0})


def test_visible_before_is_everything_before_the_event() -> None:
    log = log_of(("ada", "a", 1), ("bob", "b", 1), ("ada", "c", 2))

    assert visible_before(log, batching="event").tolist() == [0, 1, 2]


def test_visible_before_a_basket_ends_where_the_basket_begins() -> None:
    log = log_of(("ada", "a", 1), ("ada", "b", 1), ("ada", "c", 2))
    ordered = log_of(("ada", "a", 1), ("ada", "b", 2), ("ada", "c", 3), orders=["o1", "o1", "o2"])

    assert visible_before(log, batching="basket").tolist() == [0, 0, 2]
    assert visible_before(ordered, batching="basket").tolist() == [0, 0, 2]


@pytest.mark.parametrize(("lag_ms", "expected"), [(999, [0, 1, 2]), (1000, [0, 1, 2]), (1001, [0, 0, 1])])
def test_visible_before_counts_an_event_exactly_at_the_lag(lag_ms: int, expected: list[int]) -> None:
    log = log_of(("ada", "a", 1), ("ada", "b", 2), ("ada", "c", 3))

    assert visible_before(log, batching="event", visible_after_ms=lag_ms).tolist() == expected


def test_sequences_are_each_person_s_last_events_among_the_first_of_the_log() -> None:
    log = log_of(("ada", "a", 1), ("bob", "b", 2), ("ada", "c", 3), ("ada", "d", 4), ("ada", "e", 5))

    found = log.sequences(np.array([0, 1, 0]), np.array([4, 1, 5]), length=2)

    assert found.indptr.tolist() == [0, 2, 2, 4]
    assert log.item_ids[found.items].tolist() == ["c", "d", "d", "e"]


def test_last_ms_is_that_of_the_newest_visible_event_of_each_person() -> None:
    log = log_of(("ada", "a", 1), ("bob", "b", 2), ("ada", "c", 3))

    found = log.last_ms(np.array([0, 0, 0, 1]), np.array([0, 1, 3, 1]))

    assert found.tolist() == [NEVER, log.event_ms[0], log.event_ms[2], NEVER]


@pytest.mark.parametrize(("gap_ms", "expected"), [(1999, [0, 1, 2]), (2000, [0, 1, 0])])
def test_visits_are_named_by_their_first_event_and_end_one_ms_after_the_gap(gap_ms: int, expected: list[int]) -> None:
    log = log_of(("ada", "a", 1), ("bob", "b", 2), ("ada", "c", 3))

    assert log.visits(gap_ms=gap_ms).tolist() == expected


def test_times_counts_the_earlier_events_of_the_same_person_and_item() -> None:
    log = log_of(("ada", "a", 1), ("bob", "a", 2), ("ada", "a", 3), ("ada", "b", 4), ("ada", "a", 5))

    assert log.times.tolist() == [0, 0, 1, 0, 2]
