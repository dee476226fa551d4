"""Searching the parts of one array at once says what `bisect` says of each part."""

from bisect import bisect_left, bisect_right
from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from afterclick.sorted_groups import part_bounds, search_within

_PARTS = st.lists(st.lists(st.integers(-5, 5), max_size=9).map(sorted), min_size=1, max_size=6)


@given(_PARTS, st.lists(st.tuples(st.integers(0, 5), st.integers(-7, 7)), max_size=20), st.booleans())
def test_each_wanted_value_is_found_where_its_own_part_has_it(
    parts: list[list[int]], asked: list[tuple[int, int]], after_equal: bool
) -> None:
    starts = np.cumsum([0, *map(len, parts)])
    part = np.array([number % len(parts) for number, _ in asked], np.int64)
    wanted = np.array([value for _, value in asked], np.int64)

    places = search_within(
        np.array([*chain(*parts)], np.int64), starts[part], starts[part + 1], wanted, after_equal=after_equal
    )

    find = bisect_right if after_equal else bisect_left
    expected = [starts[p] + find(parts[p], value) for p, value in zip(part, wanted, strict=True)]
    assert places.tolist() == expected


def test_an_empty_part_at_the_end_of_the_array_has_its_place_there() -> None:
    assert search_within(np.array([1, 2]), np.array([2]), np.array([2]), np.array([5])).tolist() == [2]


@given(st.lists(st.integers(1, 4), max_size=6))
def test_each_row_has_the_bounds_of_its_group(sizes: list[int]) -> None:
    group = np.repeat(np.arange(len(sizes)) * 3, sizes)

    begin, end = part_bounds(group)

    assert begin.tolist() == [int(np.flatnonzero(group == one)[0]) for one in group]
    assert end.tolist() == [int(np.flatnonzero(group == one)[-1]) + 1 for one in group]
