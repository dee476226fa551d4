"""Histories are sets: any order and repetition of the same interactions gives the same bytes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from afterclick.histories import RECORD, merge_histories, weigh_histories

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
