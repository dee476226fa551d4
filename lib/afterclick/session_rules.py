"""How visits are cut: numpy only. `sessions` adapts these rules to Spark and to files.

An event is a session of length zero, so joining events to open sessions and merging two sessions that
a late event bridges are the same operation.
"""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from afterclick.sorted_groups import search_within

IntVector = npt.NDArray[np.int64]
FloatVector = npt.NDArray[np.floating[Any]]
BoolVector = npt.NDArray[np.bool_]

SUMS = (
    "event_count", "view_count", "cart_count", "removal_count", "purchase_count", "page_count", "dwell_ms",
    "uncounted_items", "cart_value", "order_value", "estimated_event_count",
)  # fmt: skip
"""Columns that add up when sessions merge."""
FIRSTS = ("entry_page", "campaign", "device")
"""Columns of which the earliest known value stays."""
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Sessions:
    """Sessions as parallel arrays of shape (n,); times in microseconds since the epoch, both ends inclusive.

    Parameters
    ----------
    subject
        Code of the person, any integers.
    cart_value
        Quantity times price put into the cart, less what was taken out.
    order_value
        Sum of quantity times price over purchases.
    estimated_event_count
        Sum of one over the share that was kept of each event's kind: `event_count` where nothing was sampled.
    uncounted_items
        Mentions of items beyond the limit of `count_items`.
    scroll_percent
        Largest seen; -1 where none was said.
    entry_page, campaign, device
        Code of the earliest value said, at ``<name>_at``; -1 where none was. Equal times: the smaller code.
    """

    subject: IntVector
    started: IntVector
    ended: IntVector
    event_count: IntVector
    view_count: IntVector
    cart_count: IntVector
    removal_count: IntVector
    purchase_count: IntVector
    page_count: IntVector
    dwell_ms: IntVector
    uncounted_items: IntVector
    cart_value: FloatVector
    order_value: FloatVector
    estimated_event_count: FloatVector
    scroll_percent: FloatVector
    entry_page: IntVector
    entry_page_at: IntVector
    campaign: IntVector
    campaign_at: IntVector
    device: IntVector
    device_at: IntVector

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self.subject)

    def take(self, chosen: BoolVector | IntVector) -> Self:
        """Keep the rows that `chosen` marks or numbers."""
        return type(self)(*[getattr(self, field.name)[chosen] for field in fields(self)])

    def joined_with(self, other: Self) -> Self:
        """Put the rows of `other` after ours."""
        pairs = [(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return type(self)(*[np.concatenate(pair) for pair in pairs])


class Advance(NamedTuple):
    """What one batch did.

    `open` is what to hand in next time; `ongoing` and `closed` are whole sessions, sorted by subject and start;
    `is_late` says which arrivals were late, shape (n_arriving,).
    """

    open: Sessions
    ongoing: Sessions
    closed: Sessions
    is_late: BoolVector


def advance(
    open_sessions: Sessions, arriving: Sessions, *, gap: int, watermark: int, close_on_order: bool = False
) -> Advance:
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
    close_on_order
        A purchase ends the session: what follows at a later time begins another.

    Notes
    -----
    An event exactly at the watermark is in time, so a session closes when ``ended + gap < watermark``.
    With `close_on_order` what is open stays single events, because a late purchase may cut them anywhere.
    Cost: O(n log n) in open sessions plus arrivals.
    """
    is_late = arriving.started < watermark
    rows = open_sessions.joined_with(arriving.take(~is_late))
    rows = rows.take(np.lexsort((rows.purchase_count > 0, rows.started, rows.subject)))
    heads = _heads(rows, gap=gap, close_on_order=close_on_order)
    merged = _merge(rows, heads)
    is_closed = merged.ended < watermark - gap
    if close_on_order:
        is_closed |= (merged.purchase_count > 0) & (merged.ended < watermark)
    ongoing = merged.take(~is_closed)
    kept = rows.take(~np.repeat(is_closed, np.diff([*heads, len(rows)]))) if close_on_order else ongoing
    return Advance(kept, ongoing, merged.take(is_closed), is_late)


def merge_neighbours(sessions: Sessions, *, gap: int) -> Sessions:
    """Merge sessions of one subject whose distance is at most `gap` microseconds; sorted by subject and start."""
    rows = sessions.take(np.lexsort((sessions.started, sessions.subject)))
    return _merge(rows, _heads(rows, gap=gap, close_on_order=False))


def _heads(rows: Sessions, *, gap: int, close_on_order: bool) -> IntVector:
    """Return the first row of each session; `rows` are sorted by subject and start."""
    if len(rows) == 0:
        return np.zeros(0, np.int64)
    is_new = np.concatenate(([True], rows.subject[1:] != rows.subject[:-1]))
    reached = _running_end(np.cumsum(is_new), rows.ended)
    is_new[1:] |= rows.started[1:] - reached[:-1] > gap
    if close_on_order:
        is_new[1:] |= (rows.purchase_count[:-1] > 0) & (rows.started[1:] > rows.started[:-1])
    return np.flatnonzero(is_new)


def _merge(rows: Sessions, heads: IntVector) -> Sessions:
    if len(rows) == 0:
        return rows
    columns: dict[str, Any] = {"subject": rows.subject[heads], "started": rows.started[heads]}
    columns["ended"] = np.maximum.reduceat(rows.ended, heads)
    columns["scroll_percent"] = np.maximum.reduceat(rows.scroll_percent, heads)
    columns |= {name: np.add.reduceat(getattr(rows, name), heads) for name in SUMS}
    session = np.repeat(np.arange(len(heads)), np.diff([*heads, len(rows)]))
    for name in FIRSTS:
        codes = getattr(rows, name)
        at = np.where(codes >= 0, getattr(rows, f"{name}_at"), _NEVER)
        columns[f"{name}_at"] = np.minimum.reduceat(at, heads)
        is_first = (codes >= 0) & (at == columns[f"{name}_at"][session])
        least = np.minimum.reduceat(np.where(is_first, codes, _NEVER), heads)
        columns[name] = np.where(least == _NEVER, -1, least)
    return Sessions(**columns)


def _running_end(group: IntVector, ended: IntVector) -> IntVector:
    """Latest end so far inside each group of consecutive rows.

    Ranks instead of times: group times time span would overflow 64 bits.
    """
    times, rank = np.unique(ended, return_inverse=True)
    base = group * len(times)
    return times[np.maximum.accumulate(rank + base) - base]


def find_session(sessions: Sessions, subject: IntVector, at: IntVector, *, gap: int = 0) -> IntVector:
    """Return the row of the session that holds each (subject, time), within `gap`; -1 where none does.

    Parameters
    ----------
    sessions
        Sorted by subject and start, not overlapping. Where two are within `gap`, the earlier is meant.
    """
    if len(sessions) == 0:
        return np.full(len(subject), -1, np.int64)
    # The first session of the subject that ends at or after `at - gap`.
    begin, end = (np.searchsorted(sessions.subject, subject, side=side) for side in ("left", "right"))
    row = search_within(sessions.ended, begin, end, at - gap)
    held = np.minimum(row, len(sessions) - 1)
    is_inside = (row < end) & (sessions.started[held] - gap <= at)
    return np.where(is_inside, held, -1)


class Mentions(NamedTuple):
    """Items named in open sessions, shape (n,): who, which item, when first."""

    subject: IntVector
    item: IntVector
    at: IntVector


class ItemCounts(NamedTuple):
    """`distinct` and `uncounted` per session; `kept` are the rows of the mentions that count."""

    distinct: IntVector
    uncounted: IntVector
    kept: IntVector


def count_items(sessions: Sessions, mentions: Mentions, *, limit: int) -> ItemCounts:
    """Count each session's distinct items, the earliest `limit` of them.

    Parameters
    ----------
    sessions
        Sorted by subject and start, not overlapping.

    Notes
    -----
    What is beyond the limit is not kept but counted: a crawler's session must not fill the state, nor vanish.
    """
    session = find_session(sessions, mentions.subject, mentions.at)
    held = np.flatnonzero(session >= 0)
    order = held[np.lexsort((mentions.at[held], mentions.item[held], session[held]))]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(session[order]) != 0) | (np.diff(mentions.item[order]) != 0)
    firsts = order[is_first]
    size = len(sessions)
    distinct = np.bincount(session[firsts], minlength=size)
    if distinct.max(initial=0) <= limit:
        return ItemCounts(distinct, np.zeros(size, np.int64), firsts)
    firsts = firsts[np.lexsort((mentions.item[firsts], mentions.at[firsts], session[firsts]))]
    place = np.arange(len(firsts)) - np.searchsorted(session[firsts], session[firsts])
    beyond = np.bincount(session[firsts[place >= limit]], minlength=size)
    return ItemCounts(distinct - beyond, beyond, firsts[place < limit])
