"""A person's recent interactions as a sorted set, and the confidences it stands for. numpy only.

A set, so that a redelivered event and a replayed batch change nothing; sorted, so that equal sets are
equal bytes whatever the order of arrival.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.bit_columns import (
    pack_bits,
    pack_numbers,
    pack_rising,
    unpack_bits,
    unpack_numbers,
    unpack_rising,
    width_of,
)

RECORD = np.dtype([("item_key", "<u8"), ("event_ms", "<i8"), ("event_type", "u1")])
"""One interaction: item key (`models.item_keys`), event time in milliseconds since the epoch, type code."""
EVENT_TYPE_CODES = {"view": 1, "cart": 2, "purchase": 3, "remove_from_cart": 4}

History = npt.NDArray[np.void]


class Confidences(NamedTuple):
    """Histories as CSR rows over a model's items: see `fold_in.fold_in_users`."""

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    values: npt.NDArray[np.floating[Any]]


def merge_histories(stored: History, arriving: History, *, length: int) -> History:
    """Return the union, the `length` most recent, oldest first; ties by item and type."""
    both = np.concatenate([stored, arriving])
    order = np.lexsort((both["event_type"], both["item_key"], both["event_ms"]))
    ordered = both[order]
    is_new = np.ones(len(ordered), bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new][-length:]


def pack_records(records: History, origin_ms: int) -> bytes:
    """Return a history sorted by time as bytes: keys as they are, types and times in columns (`bit_columns`).

    Parameters
    ----------
    origin_ms
        A time near those of the records: the nearer, the shorter.
    """
    times, types = records["event_ms"], records["event_type"] - np.uint8(1)  # the types there are need two bits so
    first, last = (int(times[0]), int(times[-1])) if len(times) else (0, 0)
    width = width_of(types)
    numbers = pack_numbers((len(records), width, first - origin_ms, last - first))
    columns = pack_rising(times - first, last - first + 1) + pack_bits(types, width)
    return numbers + records["item_key"].tobytes() + columns


def unpack_records(value: bytes, at: int, origin_ms: int) -> History:
    """Return what `pack_records` stored from a byte of `value` to its end.

    Raises
    ------
    ValueError, IndexError
        If it did not.
    """
    (count, width, first, span), at = unpack_numbers(value, at, 4)
    keys = np.frombuffer(value, "<u8", count, at)
    times, at = unpack_rising(value, at + 8 * count, count, span + 1)
    types, at = unpack_bits(value, at, count, width)
    if at != len(value):
        raise ValueError(f"{len(value)} bytes, {at} expected")
    records = np.zeros(count, RECORD)
    records["item_key"], records["event_ms"], records["event_type"] = keys, times + (first + origin_ms), types + 1
    return records


def read_plain_records(value: bytes, at: int, _: int) -> History:
    """Return what was stored before there were columns; raises as `unpack_records`."""
    return np.frombuffer(value, RECORD, offset=at)


def weigh_histories(
    histories: Sequence[History], index_of: npt.NDArray[np.int64], *, event_weights: Mapping[str, float], alpha: float
) -> Confidences:
    """Sum each person's interactions by item.

    Parameters
    ----------
    index_of : shape (sum of lengths,)
        Model row of every record of all histories in order; -1 = unknown to the model, left out.
    event_weights
        Weight by event type; a type not listed counts nothing.
    """
    weight_of_code = np.zeros(256)
    for name, weight in event_weights.items():
        weight_of_code[EVENT_TYPE_CODES[name]] = weight
    lengths = [len(history) for history in histories]
    users = np.repeat(np.arange(len(histories)), lengths)
    records = np.concatenate([history["event_type"] for history in histories]) if histories else np.zeros(0, np.uint8)
    weights = weight_of_code[records]
    counts = (index_of >= 0) & (weights > 0)
    span = int(index_of.max(initial=0)) + 1
    cells, cell_of = np.unique(users[counts] * span + index_of[counts], return_inverse=True)
    values = np.bincount(cell_of, weights[counts], minlength=len(cells)) * alpha
    indptr = np.concatenate([[0], np.cumsum(np.bincount(cells // span, minlength=len(histories)))])
    return Confidences(indptr.astype(np.int64), cells % span, values)
