"""A person's recent interactions as a sorted set, and the confidences it stands for. numpy only.

A set, so that a redelivered event and a replayed batch change nothing; sorted, so that equal sets are
equal bytes whatever the order of arrival.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
