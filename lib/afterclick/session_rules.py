"""How visits are cut: numpy only. `sessions` adapts these rules to Spark and to files.

An event is a session of length zero, so joining events to open sessions and merging two sessions that
a late event bridges are the same operation.
"""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

IntVector = npt.NDArray[np.int64]
FloatVector = npt.NDArray[np.floating[Any]]
BoolVector = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sessions:
    """Sessions as parallel arrays of shape (n,); times in microseconds since the epoch, both ends inclusive.

    Parameters
    ----------
    subject
        Code of the person, any integers.
    order_value
        Sum of quantity times price over purchases.
    """

    subject: IntVector
    started: IntVector
    ended: IntVector
    event_count: IntVector
    view_count: IntVector
    cart_count: IntVector
    purchase_count: IntVector
    order_value: FloatVector

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self.subject)

    def where(self, chosen: BoolVector) -> Self:
        """Keep the rows for which `chosen`, shape (n,), is true."""
        return type(self)(*[getattr(self, field.name)[chosen] for field in fields(self)])

    def joined_with(self, other: Self) -> Self:
        """Put the rows of `other` after ours."""
        pairs = [(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return type(self)(*[np.concatenate(pair) for pair in pairs])


class Advance(NamedTuple):
    """What one batch did: sessions still open, sessions closed, and which arrivals were late, shape (n_arriving,)."""

    open: Sessions
    closed: Sessions
    is_late: BoolVector


def advance(open_sessions: Sessions, arriving: Sessions, *, gap: int, watermark: int) -> Advance:
    """Join arriving events to open sessions and close what can no longer change.

    Parameters
    ----------
    open_sessions
        What the last call left open.
    arriving
        New events as sessions of length zero, in any order.
    gap
        Microseconds; a session is cut by a gap *greater* than this.
    watermark
        Microseconds since the epoch; an event before it is late and joins nothing. Never falls.

    Notes
    -----
    An event exactly at the watermark is in time, so a session closes when ``ended + gap < watermark``.
    Cost: O(n log n) in open sessions plus arrivals.
    """
    is_late = arriving.started < watermark
    merged = merge_neighbours(open_sessions.joined_with(arriving.where(~is_late)), gap=gap)
    is_closed = merged.ended + gap < watermark
    return Advance(merged.where(~is_closed), merged.where(is_closed), is_late)


def merge_neighbours(sessions: Sessions, *, gap: int) -> Sessions:
    """Merge sessions of one subject whose distance is at most `gap` microseconds; sorted by subject and start."""
    if len(sessions) == 0:
        return sessions
    order = np.lexsort((sessions.started, sessions.subject))
    subject, started, ended = sessions.subject[order], sessions.started[order], sessions.ended[order]
    is_new = np.concatenate(([True], subject[1:] != subject[:-1]))
    reached = _running_end(np.cumsum(is_new), ended)
    is_head = is_new.copy()
    is_head[1:] |= started[1:] - reached[:-1] > gap
    heads = np.flatnonzero(is_head)
    summed = [
        np.add.reduceat(getattr(sessions, name)[order], heads)
        for name in ("event_count", "view_count", "cart_count", "purchase_count", "order_value")
    ]
    return Sessions(subject[heads], started[heads], np.maximum.reduceat(ended, heads), *summed)


def _running_end(group: IntVector, ended: IntVector) -> IntVector:
    """Latest end so far inside each group of consecutive rows.

    Ranks instead of times: group times time span would overflow 64 bits.
    """
    times, rank = np.unique(ended, return_inverse=True)
    base = group * len(times)
    return times[np.maximum.accumulate(rank + base) - base]
