"""Figures of parity against plain loops: overlap, nDCG, distance, and who is in which bin."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterclick.parity_rules import BINS, Figures, bin_labels, list_ndcg, list_overlap, relative_distance, summarise

some_keys = st.lists(st.integers(0, 30), unique=True, max_size=20)
EMPTY = float("nan")


def keys(*values: int) -> Any:
    return np.array(values, np.uint64)


def figures(*rows: tuple[int, int, float, float, float, float]) -> Figures:
    columns = np.array(rows, np.float64).reshape(len(rows), 6).T
    return Figures(columns[0].astype(np.int64), columns[1].astype(np.int64), *columns[2:])


def plain_ndcg(shown: list[int], wanted: list[int], n: int) -> float:
    gained = sum(1 / math.log2(place + 2) for place, item in enumerate(shown[:n]) if item in wanted)
    return gained / sum(1 / math.log2(place + 2) for place in range(min(n, len(wanted))))


@given(some_keys, some_keys)
def test_overlap_is_that_of_sets_and_the_same_both_ways(one: list[int], other: list[int]) -> None:
    found = list_overlap(keys(*one), keys(*other))

    assert found == list_overlap(keys(*other), keys(*one))
    assert found == (len(set(one) & set(other)) / max(len(one), len(other)) if one or other else 1.0)


@given(some_keys, some_keys.filter(bool), st.integers(1, 25))
def test_ndcg_is_that_of_a_plain_loop(shown: list[int], wanted: list[int], n: int) -> None:
    assert list_ndcg(keys(*shown), keys(*wanted), n) == pytest.approx(plain_ndcg(shown, wanted, n))


def test_ndcg_is_one_when_all_wanted_items_come_first_and_nothing_when_none_is_wanted() -> None:
    assert list_ndcg(keys(3, 1, 7), keys(1, 3, 3), 20) == pytest.approx(1.0)
    assert list_ndcg(keys(*range(20)), keys(*range(30)), 20) == pytest.approx(1.0)
    assert math.isnan(list_ndcg(keys(1), keys(), 20))


@given(st.integers(0, 10_000))
def test_distance_is_that_of_plain_loops_and_does_not_see_a_turned_space(seed: int) -> None:
    draw = np.random.default_rng(seed)
    people, items, other = (draw.normal(size=shape) for shape in ((3, 4), (6, 4), (6, 4)))
    turn = np.linalg.qr(draw.normal(size=(4, 4))).Q

    served, retrained = people @ items.T, people @ other.T
    found = relative_distance(served, retrained)

    plain = [
        math.sqrt(sum((a - b) ** 2 for a, b in zip(old, new, strict=True))) / math.sqrt(sum(b * b for b in new))
        for old, new in zip(served.tolist(), retrained.tolist(), strict=True)
    ]
    assert found == pytest.approx(plain)
    assert relative_distance((people @ turn) @ (items @ turn).T, served) == pytest.approx(np.zeros(3), abs=1e-9)


def test_distance_is_unknown_where_the_retrained_model_knows_nothing() -> None:
    found = relative_distance(np.ones((2, 2)), np.array([[0.0, 0.0], [1.0, 1.0]]))

    assert math.isnan(found[0])
    assert found[1] == 0


def test_labels_of_bins() -> None:
    assert bin_labels(BINS["history_length"]) == ["1", "2-5", "6-20", "21-100", ">100"]
    assert bin_labels(BINS["hours"]) == ["0-2", "3-5", "6-11", "12-23", "24-47", ">47"]
    assert bin_labels(BINS["all"]) == ["all"]


@pytest.mark.parametrize(
    ("length", "label"),
    [(1, "1"), (2, "2-5"), (5, "2-5"), (6, "6-20"), (20, "6-20"), (21, "21-100"), (100, "21-100"), (101, ">100")],
)
def test_a_history_is_in_the_bin_of_its_length(length: int, label: str) -> None:
    found = summarise(figures((length, 0, 0.5, 0.1, EMPTY, EMPTY)))

    assert [one.bin for one in found if one.grouped_by == "history_length"] == [label]


def test_a_bin_has_means_of_lists_and_of_visits_each_with_its_number() -> None:
    rows = [(3, 1, 0.5, 0.2, EMPTY, EMPTY), (4, 1, 1.0, EMPTY, EMPTY, EMPTY)]
    visits = [(2, 1, EMPTY, EMPTY, 0.25, 0.75), (5, 1, EMPTY, EMPTY, 0.5, 0.5)]

    (found,) = [one for one in summarise(figures(*rows, *visits)) if one.grouped_by == "history_length"]

    assert found[1:7] == ("2-5", 2, 2, 0.75, 0.2, 2)
    assert found[7:] == pytest.approx((0.375, 0.625, 0.25, np.std([0.5, 0], ddof=1) / math.sqrt(2)))


def test_a_bin_without_visits_says_nothing_of_them() -> None:
    found = summarise(figures((1, 30, 0.5, EMPTY, EMPTY, EMPTY)))

    assert [(one.grouped_by, one.bin) for one in found] == [("all", "all"), ("history_length", "1"), ("hours", "24-47")]
    assert {one[3:] for one in found} == {(1, 0.5, None, 0, None, None, None, None)}


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 200), st.floats(0, 1)), min_size=1, max_size=40))
def test_every_grouping_holds_everybody_once_and_bins_add_up_to_all(people: list[tuple[int, int, float]]) -> None:
    found = summarise(figures(*((length, hour, share, 0.0, EMPTY, EMPTY) for length, hour, share in people)))

    for grouped_by in BINS:
        part = [one for one in found if one.grouped_by == grouped_by]
        assert sum(one.people for one in part) == len(people)
        total = sum(one.people * (one.overlap or 0.0) for one in part)
        assert total == pytest.approx(sum(share for _, _, share in people))


def test_nobody_makes_no_bin() -> None:
    assert summarise(figures()) == []
