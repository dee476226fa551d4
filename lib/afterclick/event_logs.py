"""Recorded events as integer arrays for evaluation, and what is visible when each one is predicted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from afterclick.covisitation import Steps, steps_to
from afterclick.errors import SchemaMismatchError
from afterclick.sequences import IntVector, Sequences

Batching = Literal["event", "basket"]
NEVER = 2**62
"""The time of what did not happen: later than all that did, so nobody comes back from it."""


@dataclass(frozen=True)
class EventLog:
    """Events in order of time, ties in the file's order.

    Parameters
    ----------
    users, items : shape (n_events,)
        Codes into `user_ids` and `item_ids`.
    baskets : shape (n_events,)
        Number of the event's basket: the order, or the person's events of one instant.
    """

    user_ids: npt.NDArray[np.str_]
    item_ids: npt.NDArray[np.str_]
    users: IntVector
    items: IntVector
    weights: npt.NDArray[np.float64]
    event_ms: IntVector
    baskets: IntVector

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.users)

    @cached_property
    def by_user(self) -> tuple[IntVector, IntVector, IntVector]:
        """Return events ordered by person and time, where each person's begin, and each event's place in there."""
        order = np.argsort(self.users, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.users, minlength=len(self.user_ids)))])
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return order, starts.astype(np.int64), place

    @cached_property
    def steps(self) -> tuple[Steps, IntVector]:
        """Return what followed what, in the order of the events, and the event each step belongs to."""
        order, starts, place = self.by_user
        whole = Sequences(starts, self.items[order], self.weights[order])
        events = np.arange(len(self))
        return steps_to(whole, place, self.users, events)

    @cached_property
    def times(self) -> IntVector:
        """Return for each event how many earlier ones were of the same person and item."""
        _, pair_of = np.unique(self.users * len(self.item_ids) + self.items, return_inverse=True)
        order = np.argsort(pair_of, kind="stable")
        times = np.empty(len(order), np.int64)
        times[order] = np.arange(len(order)) - np.searchsorted(pair_of[order], pair_of[order])
        return times

    def sequences(self, users: IntVector, before: IntVector, *, length: int) -> Sequences:
        """Return each person's last `length` events among the first `before` of the log."""
        order, starts, _ = self.by_user
        begin = starts[users]
        end = np.searchsorted(self._rank, users * (len(self) + 1) + before)
        begin = np.maximum(begin, end - length)
        sizes = end - begin
        indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        places = np.arange(indptr[-1]) + np.repeat(begin - indptr[:-1], sizes)
        return Sequences(indptr, self.items[order[places]], self.weights[order[places]])

    def last_ms(self, users: IntVector, before: IntVector) -> IntVector:
        """Return when each person's last event among the first `before` of the log was; `NEVER` where there is none."""
        order, starts, _ = self.by_user
        end = np.searchsorted(self._rank, users * (len(self) + 1) + before)
        return np.where(end > starts[users], self.event_ms[order[np.maximum(end - 1, 0)]], NEVER)

    def visits(self, *, gap_ms: int) -> IntVector:
        """Return the first event of the visit that each event belongs to."""
        order, starts, _ = self.by_user
        begins = np.ones(len(order), bool)
        begins[1:] = np.diff(self.event_ms[order]) > gap_ms
        begins[starts[:-1][np.diff(starts) > 0]] = True
        first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        visits = np.empty(len(order), np.int64)
        visits[order] = order[first]
        return visits

    @cached_property
    def _rank(self) -> IntVector:
        order = self.by_user[0]
        return self.users[order] * (len(self) + 1) + order

    def only(self, chosen: npt.NDArray[np.bool_]) -> "EventLog":
        """Return some of the events; codes stay."""
        return replace(
            self,
            users=self.users[chosen],
            items=self.items[chosen],
            weights=self.weights[chosen],
            event_ms=self.event_ms[chosen],
            baskets=self.baskets[chosen],
        )


def read_events(tables: list[pa.Table], event_weights: Mapping[str, float]) -> tuple[EventLog, int]:
    """Return the events of one or two logs (training first) and the number of those of the first.

    Parameters
    ----------
    tables
        As `recorded_logs.read_log` gives them; rows without person, item or time, or of a type that does not
        count, are left out.

    Raises
    ------
    SchemaMismatchError
        If no event remains.
    """
    kept = [_usable(table, event_weights) for table in tables]
    subjects, items, event_ms, weights, orders = (
        np.concatenate([table[name].to_numpy() for table in kept]) for name in kept[0].schema.names
    )
    if not len(subjects):
        message = "no event has a person, an item, a time and a type that counts (settings, event_weights)"
        raise SchemaMismatchError(message)
    part = np.repeat(np.arange(len(kept)), [len(table) for table in kept])
    order = np.lexsort((np.arange(len(subjects)), event_ms, part))
    user_ids, users = np.unique(subjects.astype(str), return_inverse=True)
    item_ids, codes = np.unique(items.astype(str), return_inverse=True)
    users, codes, event_ms = users[order], codes[order], event_ms[order].astype(np.int64)
    baskets = _baskets(users, event_ms, orders[order].astype(str))
    log = EventLog(user_ids, item_ids, users, codes, weights[order].astype(np.float64), event_ms, baskets)
    return log, len(kept[0])


def visible_before(log: EventLog, *, batching: Batching, visible_after_ms: int = 0) -> IntVector:
    """Return, for every event, how many of the first events of the log are known when it is predicted.

    Parameters
    ----------
    batching
        ``event``: everything before it; ``basket``: everything before the basket it belongs to.
    visible_after_ms
        An event is known only this long after it happened.
    """
    events = np.arange(len(log))
    if batching == "basket":
        _, first, basket_of = np.unique(log.baskets, return_index=True, return_inverse=True)
        events = np.minimum.accumulate(first[basket_of][::-1])[::-1]
    if visible_after_ms:
        events = np.minimum(events, np.searchsorted(log.event_ms, log.event_ms - visible_after_ms, side="right"))
    return events


def _usable(table: pa.Table, event_weights: Mapping[str, float]) -> pa.Table:
    kinds = table["event_type"].combine_chunks().dictionary_encode()
    by_kind = np.array([event_weights.get(name, 0.0) for name in kinds.dictionary.to_pylist()])
    weights = by_kind[kinds.indices.to_numpy(zero_copy_only=False)] if len(table) else np.zeros(0)
    orders = table["order_id"] if "order_id" in table.schema.names else pa.nulls(len(table), pa.string())
    event_ms = pc.cast(pc.cast(table["event_at"], pa.timestamp("ms", "UTC"), safe=False), pa.int64())
    columns = [table["subject_id"], table["item_id"], event_ms, pa.array(weights, pa.float64()), orders]
    usable = pa.table(columns, ["subject_id", "item_id", "event_ms", "weight", "order_id"])
    needed = [pc.is_valid(usable[name]) for name in ("subject_id", "item_id", "event_ms")]
    keep = pc.and_(pc.and_(needed[0], needed[1]), pc.and_(needed[2], pc.greater(usable["weight"], 0)))
    return usable.filter(keep)


def _baskets(users: IntVector, event_ms: IntVector, orders: npt.NDArray[np.str_]) -> IntVector:
    has_order = (orders != "None") & (orders != "nan")
    _, order_codes = np.unique(orders, return_inverse=True)
    instants = np.unique(event_ms, return_inverse=True)[1]
    key = np.where(has_order, order_codes, instants + order_codes.max(initial=0) + 1)
    return np.unique(users * (int(key.max(initial=0)) + 1) + key, return_inverse=True)[1]
