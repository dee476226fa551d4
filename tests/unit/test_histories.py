"""Histories are sets: any order and repetition of the same interactions gives the same bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterclick.histories import RECORD, merge_histories, pack_records, unpack_records, weigh_histories

records = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(1, 3)), max_size=30)


def history(rows: list[tuple[int, int, int]]) -> np.ndarray:
    return np.array(rows, RECORD)


EMPTY = history([])


@given(records, records)
def test_merge_histories_is_commutative_and_idempotent(
    one: list[tuple[int, int, int]], other: list[tuple[int, int, int]]
) -> None:
    forward = merge_histories(merge_histories(EMPTY, history(one), length=99), history(other), length=99)
    backward = merge_histories(merge_histories(EMPTY, history(other), length=99), history(one), length=99)

    assert forward.tobytes() == backward.tobytes()
    assert merge_histories(forward, history(one), length=99).tobytes() == forward.tobytes()
    assert {tuple(row) for row in forward.tolist()} == {*one, *other}


def test_merge_histories_keeps_the_most_recent_when_longer_than_the_cap() -> None:
    merged = merge_histories(history([(1, 5, 1), (2, 1, 1)]), history([(3, 9, 1)]), length=2)

    assert merged["item_key"].tolist() == [1, 3]


def test_weigh_histories_sums_by_item_and_leaves_out_unknown_and_weightless() -> None:
    people = [history([(1, 1, 1), (1, 2, 3), (2, 3, 1)]), EMPTY, history([(2, 1, 4), (9, 1, 1)])]
    rows = np.array([0, 0, 7, 7, -1])

    weighed = weigh_histories(people, rows, event_weights={"view": 1.0, "purchase": 5.0}, alpha=2.0)

    assert weighed.indptr.tolist() == [0, 2, 2, 2]
    assert weighed.indices.tolist() == [0, 7]
    assert weighed.values.tolist() == [12.0, 2.0]


def test_weigh_histories_accepts_nobody() -> None:
    weighed = weigh_histories([], np.zeros(0, np.int64), event_weights={"view": 1.0}, alpha=1.0)

    assert (weighed.indptr.tolist(), len(weighed.indices)) == ([0], 0)


of_any_time = st.lists(
    st.tuples(st.integers(0, 2**64 - 1), st.integers(-(2**45), 2**45), st.integers(0, 255)), max_size=30
)


@given(of_any_time, st.integers(0, 2**42), st.binary(max_size=3))
def test_records_are_unpacked_as_packed(rows: list[tuple[int, int, int]], origin_ms: int, before: bytes) -> None:
    history = merge_histories(np.zeros(0, RECORD), np.array(rows, RECORD), length=30)

    found = unpack_records(before + pack_records(history, origin_ms), len(before), origin_ms)

    assert found.tolist() == history.tolist()


def test_thirty_records_of_half_an_hour_take_eleven_bytes_each() -> None:
    records = np.zeros(30, RECORD)
    records["event_ms"], records["event_type"] = 1_767_225_600_000 + np.arange(30) * 60_000, np.arange(30) % 4 + 1

    assert len(pack_records(records, 1_767_227_400_000)) <= 30 * 11


def test_records_with_something_behind_them_are_refused() -> None:
    value = pack_records(np.array([(7, 1000, 3)], RECORD), 0)

    with pytest.raises(ValueError, match="expected"):
        unpack_records(value + b"x", 0, 0)
