"""Numbers in few bits: what was packed is unpacked, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterclick.bit_columns import (
    end_of_bits,
    end_of_rising,
    pack_bits,
    pack_numbers,
    pack_rising,
    read_bits,
    read_rising,
    unpack_bits,
    unpack_numbers,
    unpack_rising,
    width_of,
)

MS = 1_767_225_600_000


@given(st.lists(st.integers(-(2**70), 2**70), max_size=6), st.binary(max_size=3))
def test_numbers_are_unpacked_as_packed_wherever_they_begin(numbers: list[int], before: bytes) -> None:
    value = before + pack_numbers(numbers)

    assert unpack_numbers(value, len(before), len(numbers)) == (numbers, len(value))


@pytest.mark.parametrize(("number", "size"), [(63, 1), (-64, 1), (64, 2), (-65, 2), (MS, 6), (0, 1)])
def test_a_number_takes_a_byte_for_every_seven_bits(number: int, size: int) -> None:
    assert len(pack_numbers([number])) == size


@given(st.lists(st.integers(0, 2**40), max_size=70), st.binary(max_size=3))
def test_bits_are_unpacked_as_packed_wherever_they_begin(numbers: list[int], before: bytes) -> None:
    values = np.array(numbers, np.int64)
    width = width_of(values)
    value = before + pack_bits(values, width)

    found, end = unpack_bits(value, len(before), len(values), width)

    assert (found.tolist(), end) == (numbers, len(value))
    assert len(value) - len(before) == (len(values) * width + 7) // 8


@given(st.lists(st.integers(0, 2**40), max_size=70).map(sorted), st.integers(1, 10**6), st.binary(max_size=3))
def test_rising_numbers_are_unpacked_as_packed(numbers: list[int], room: int, before: bytes) -> None:
    below = max(numbers, default=0) + room
    value = before + pack_rising(np.array(numbers, np.int64), below)

    found, end = unpack_rising(value, len(before), len(numbers), below)

    assert (found.tolist(), end) == (numbers, len(value))


@given(st.lists(st.integers(0, 2**40), max_size=70), st.binary(max_size=3), st.integers(0, 70), st.integers(0, 70))
def test_some_places_are_read_as_all_are_unpacked(numbers: list[int], before: bytes, one: int, other: int) -> None:
    values = np.array(sorted(numbers), np.int64)
    some = range(*(min(place, len(values)) for place in sorted((one, other))))
    width, below = width_of(values), int(values.max(initial=0)) + 1
    bits, rising = before + pack_bits(values, width), before + pack_rising(values, below)

    unpacked, ends = unpack_bits(bits, len(before), len(values), width)
    risen, ends_rising = unpack_rising(rising, len(before), len(values), below)

    assert read_bits(bits, len(before), width, some) == unpacked[some.start : some.stop].tolist()
    assert read_rising(rising, len(before), len(values), below, some) == risen[some.start : some.stop].tolist()
    assert end_of_bits(len(before), len(values), width) == ends
    assert end_of_rising(len(before), len(values), below) == ends_rising


def test_fifty_rising_numbers_below_ten_thousand_take_ten_bits_each() -> None:
    values = np.sort(np.random.default_rng(1).integers(0, 10_000, 50))

    assert len(pack_rising(values, 10_000)) == (50 * 7 + 7) // 8 + (50 + 78 + 7) // 8


@pytest.mark.parametrize(("count", "width"), [(9, 8), (-1, 8), (1, 64), (0, -1)])
def test_a_column_that_cannot_be_is_refused(count: int, width: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        unpack_bits(bytes(8), 0, count, width)


def test_a_rising_column_of_another_count_is_refused() -> None:
    value = pack_rising(np.array([3, 5, 5]), 9)

    with pytest.raises(ValueError, match="instead of 4"):
        unpack_rising(value + bytes(8), 0, 4, 9)


def test_a_rising_column_of_more_numbers_than_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least"):
        unpack_rising(bytes(8), 0, 10**12, 9)
