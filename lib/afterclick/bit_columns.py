"""Whole numbers in as few bytes and bits as they need: what histories and lists are stored in. numpy only."""

from collections.abc import Iterable
from itertools import accumulate, islice

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer]
_SEVEN_BITS, _MORE, _WIDEST = 0x7F, 0x80, 63
_POWERS = 1 << np.arange(_WIDEST)


def pack_numbers(numbers: Iterable[int]) -> bytes:
    """Return single numbers of either sign, seven bits a byte, lowest first."""
    packed = bytearray()
    for number in numbers:
        left = number << 1 if number >= 0 else ~number << 1 | 1
        while left > _SEVEN_BITS:
            packed.append(left & _SEVEN_BITS | _MORE)
            left >>= 7
        packed.append(left)
    return bytes(packed)


def unpack_numbers(value: bytes, at: int, count: int) -> tuple[list[int], int]:
    """Return `count` numbers that begin at a byte of `value`, and where they end.

    Raises
    ------
    IndexError
        If `value` ends before.
    """
    numbers = []
    for _ in range(count):
        found, shift, byte = 0, 0, _MORE
        while byte & _MORE:
            byte = value[at]
            found |= (byte & _SEVEN_BITS) << shift
            at, shift = at + 1, shift + 7
        numbers.append(~(found >> 1) if found & 1 else found >> 1)
    return numbers, at


def pack_bits(values: Integers, width: int) -> bytes:
    """Return numbers of `width` bits each, lowest bit first, one after the other.

    Parameters
    ----------
    values : shape (n,)
        Below ``2 ** width``, not negative.
    width
        At most 63; none for a column of zeros.
    """
    whole = values.astype("<i8").view(np.uint8).reshape(-1, 8)
    bits = np.unpackbits(whole, axis=1, count=width, bitorder="little")
    return np.packbits(bits, bitorder="little").tobytes()


def unpack_bits(value: bytes, at: int, count: int, width: int) -> tuple[npt.NDArray[np.int64], int]:
    """Return `count` numbers that begin at a byte of `value`, and where they end.

    Raises
    ------
    ValueError
        If `value` ends before, or there are no numbers of so many bits.

    Notes
    -----
    A column of no bits has as many zeros as are asked for: know `count` from elsewhere.
    """
    if not 0 <= width <= _WIDEST:
        raise ValueError(f"numbers of {width} bits in {len(value)} bytes")
    bits, end = _read_bits(value, at, count * width)
    return bits.reshape(count, width).dot(_POWERS[:width]), end


def pack_rising(values: Integers, below: int) -> bytes:
    """Return numbers that never fall, in about ``2 + log2(below / n)`` bits each.

    Parameters
    ----------
    values : shape (n,)
        Below `below`, not negative.

    Notes
    -----
    The low bits of each as they are; of the high ones how much they rise, as so many zeros before a one.

    References
    ----------
    Elias (1974), "Efficient storage and retrieval by content and address of static files".
    """
    low = _low_bits(len(values), below)
    highs = np.zeros(len(values) + ((below - 1) >> low), np.uint8)
    highs[(values >> low) + np.arange(len(values))] = 1
    return pack_bits(values & ((1 << low) - 1), low) + np.packbits(highs, bitorder="little").tobytes()


def unpack_rising(value: bytes, at: int, count: int, below: int) -> tuple[npt.NDArray[np.int64], int]:
    """Return what `pack_rising` stored at a byte of `value`, and where it ends.

    Raises
    ------
    ValueError
        If `value` ends before, or these are not `count` numbers.
    """
    low = _low_bits(count, below)
    bits, end = _read_bits(value, end_of_bits(at, count, low), count + ((below - 1) >> low))
    ones = np.flatnonzero(bits)
    if len(ones) != count:
        raise ValueError(f"a column has {len(ones)} numbers instead of {count}")
    lows, _ = unpack_bits(value, at, count, low)
    return (ones - np.arange(count) << low) + lows, end


def read_bits(value: bytes, at: int, width: int, places: range) -> list[int]:
    """Return what `unpack_bits` returns, but of some places alone and as a list: cheaper for a few dozen.

    Notes
    -----
    Whether `value` holds so many is for the caller to know (`end_of_bits`).
    """
    if not width:
        return [0] * len(places)
    column, mask = int.from_bytes(value[at : end_of_bits(at, places.stop, width)], "little"), (1 << width) - 1
    return [column >> shift & mask for shift in range(places.start * width, places.stop * width, width)]


def read_rising(value: bytes, at: int, count: int, below: int, places: range) -> list[int]:
    """Return what `unpack_rising` returns, likewise.

    Raises
    ------
    ValueError
        If these are not `count` numbers.
    """
    low = _low_bits(count, below)
    begin, end = end_of_bits(at, count, low), end_of_rising(at, count, below)
    highs = int.from_bytes(value[begin:end], "little")
    if highs.bit_count() != count:
        raise ValueError(f"a column has {highs.bit_count()} numbers instead of {count}")
    zeros = f"{highs:b}"[::-1].split("1", places.stop)[: places.stop]
    rises = islice(accumulate(map(len, zeros)), places.start, None)
    lows = read_bits(value, at, low, places)
    return [rise << low | rest for rise, rest in zip(rises, lows, strict=True)]


def end_of_bits(at: int, count: int, width: int) -> int:
    """Return where a column of numbers of `width` bits ends that begins at a byte."""
    return at + (count * width + 7) // 8


def end_of_rising(at: int, count: int, below: int) -> int:
    """Return the same of a column of rising numbers."""
    low = _low_bits(count, below)
    return end_of_bits(end_of_bits(at, count, low), count + ((below - 1) >> low), 1)


def width_of(values: Integers) -> int:
    """Return the bits that the greatest of some numbers needs."""
    return int(values.max(initial=0)).bit_length()


def _low_bits(count: int, below: int) -> int:
    return max((below // max(count, 1)).bit_length() - 1, 0)


def _read_bits(value: bytes, at: int, count: int) -> tuple[npt.NDArray[np.uint8], int]:
    end = end_of_bits(at, count, 1)
    if count < 0 or end > len(value):
        raise ValueError(f"{len(value)} bytes, {end} expected at least")
    packed = np.frombuffer(value, np.uint8, end - at, at)
    return np.unpackbits(packed, count=count, bitorder="little"), end
