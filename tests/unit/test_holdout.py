"""Held-out people: what they did before, what they wanted, and whether a list had it."""

from typing import Any

import numpy as np
import pyarrow as pa

from afterclick.connectors.redis_store import StoredHistory
from afterclick.histories import RECORD
from afterclick.holdout import Visit, as_histories, judge_lists, last_visits, visits_since
from afterclick.list_records import TopList
from afterclick.places import ListedItem


def table(*rows: tuple[str, str, int], kinds: list[str] | None = None) -> pa.Table:
    columns: dict[str, Any] = {"subject_id": [row[0] for row in rows], "item_id": [row[1] for row in rows]}
    return pa.table({**columns, "event_type": kinds or ["view"] * len(rows), "event_ms": [row[2] for row in rows]})


def visit(*wanted: str) -> Visit:
    return Visit(StoredHistory(np.zeros(0, RECORD)), frozenset(wanted))


def top(*items: str) -> TopList:
    return TopList("v1", "fold_in", 0, 0, [ListedItem(item, 1.0, "popular") for item in items])


def test_last_visits_want_all_items_of_the_last_moment_and_know_what_was_before() -> None:
    visits = last_visits(table(("ada", "a", 1), ("ada", "b", 2), ("ada", "c", 2)), most=9, length=9)

    assert [one.wanted for one in visits] == [{"b", "c"}]
    assert visits[0].history.records["event_ms"].tolist() == [1]


def test_last_visits_leave_out_who_has_one_moment_only_and_keep_to_the_bound() -> None:
    rows = [("ada", "a", 1), ("bob", "a", 1), ("bob", "b", 2), ("eve", "a", 1), ("eve", "c", 2)]

    assert [one.wanted for one in last_visits(table(*rows), most=1, length=9)] == [{"b"}]


def test_last_visits_keep_the_most_recent_of_a_long_history() -> None:
    rows = [("ada", f"i{n}", n) for n in range(9)]

    assert last_visits(table(*rows), most=1, length=3)[0].history.records["event_ms"].tolist() == [5, 6, 7]


def test_nobody_wants_what_they_take_out_of_the_cart() -> None:
    kinds = ["view", "cart", "remove_from_cart"]
    rows = table(("ada", "lamp", 1), ("ada", "sofa", 2), ("ada", "sofa", 3), kinds=kinds)
    counted = {"view", "cart"}

    (last,) = last_visits(rows, most=9, length=9, counted=counted)
    since = visits_since(rows, 2, most=9, length=9, counted=counted)

    assert (last.wanted, last.at_ms) == (frozenset({"sofa"}), 2)
    assert [(one.wanted, one.at_ms) for one in since] == [(frozenset({"sofa"}), 2)]
    assert (
        last_visits(
            table(("eve", "sofa", 3), ("eve", "mug", 3), kinds=kinds[2:] * 2), most=9, length=9, counted=counted
        )
        == []
    )


def test_as_histories_is_sorted_and_without_repetitions() -> None:
    found = as_histories(table(("ada", "b", 2), ("ada", "a", 1), ("ada", "b", 2)))

    assert found["ada"].records["event_ms"].tolist() == [1, 2]


def test_judge_lists_counts_the_first_wanted_item_within_n() -> None:
    hits = judge_lists([top("a", "b"), top("a", "b"), top("a", "b")], [visit("b"), visit("a", "b"), visit("c")], n=2)

    assert hits.hit.tolist() == [1, 1, 0]
    assert hits.reciprocal_rank.tolist() == [0.5, 1, 0]


def test_judge_lists_does_not_count_beyond_n() -> None:
    assert judge_lists([top("a", "b")], [visit("b")], n=1).hit.tolist() == [0]


def test_visits_since_know_only_what_was_before_each_moment() -> None:
    visits = visits_since(
        table(("ada", "a", 1), ("ada", "b", 5), ("ada", "c", 7), ("ada", "d", 7)), 5, most=9, length=9
    )

    assert [sorted(one.wanted) for one in visits] == [["b"], ["c", "d"]]
    assert [one.history.records["event_ms"].tolist() for one in visits] == [[1], [1, 5]]


def test_visits_since_keep_the_most_recent_in_time_order_over_people() -> None:
    rows = [("bob", "a", 6), ("ada", "b", 5), ("eve", "c", 7)]

    assert [sorted(one.wanted) for one in visits_since(table(*rows), 0, most=2, length=9)] == [["a"], ["c"]]


def test_visits_since_keep_a_history_as_short_as_serving_does() -> None:
    rows = [("ada", f"i{n}", n) for n in range(9)]

    assert visits_since(table(*rows), 8, most=1, length=3)[0].history.records["event_ms"].tolist() == [5, 6, 7]
