"""Search in the parts of one sorted array, all at once. numpy only."""

from typing import Any

import numpy as np
import numpy.typing as npt

IntVector = npt.NDArray[np.int64]


def search_within(
    values: npt.NDArray[Any], begin: IntVector, end: IntVector, wanted: npt.NDArray[Any], *, after_equal: bool = False
) -> IntVector:
    """Return where each wanted value belongs in its own part ``values[begin:end]``, as `numpy.searchsorted` would say.

    Parameters
    ----------
    values : shape (n,)
        Ascending within each part.
    begin, end, wanted : shape (m,)
    after_equal
        Behind values equal to the wanted one instead of before them.

    Returns
    -------
    shape (m,)
        Places in `values`, between `begin` and `end`.

    Notes
    -----
    Binary search, one step for all: as many passes over `wanted` as the longest part has bits. Keys made of part and value
    would need one search only, but times of many people do not fit into 64 bits.
    """
    low, high = begin.astype(np.int64), end.astype(np.int64)
    while (is_open := low < high).any():
        middle = (low + high) // 2
        found = values[np.where(is_open, middle, 0)]
        is_before = is_open & ((found <= wanted) if after_equal else (found < wanted))
        low = np.where(is_before, middle + 1, low)
        high = np.where(is_open & ~is_before, middle, high)
    return low


def part_bounds(group: IntVector) -> tuple[IntVector, IntVector]:
    """Return for each row the first row of its group and the one after the last; rows of a group lie together."""
    heads = np.flatnonzero(np.concatenate(([True], np.diff(group) != 0)))[: len(group)]
    sizes = np.diff([*heads.tolist(), len(group)])
    return np.repeat(heads, sizes), np.repeat(heads + sizes, sizes)
