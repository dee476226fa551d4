"""How long triggers remember what, and when something can be due, by the rules there are. numpy only."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from afterclick.activity_rules import CART, COUNTED, OTHER, PAGE, PURCHASE, REMOVAL, VIEW, WINDOWS, WITHDRAWAL
from afterclick.sorted_groups import IntVector, part_bounds
from afterclick.trigger_conditions import enough
from afterclick.trigger_rules import BoolVector, CartAbandonment, Condition, Events, RepeatedVisits, Rule

_NEVER = 2**62


class Need(NamedTuple):
    """Events of some kinds that a rule still looks at after `span` microseconds; `items`: not only that they were.

    Of those that the clock has passed it looks at each person's `newest` ones, and if `since_order` at what
    came after the person's last order or withdrawal.
    """

    kinds: tuple[int, ...]
    span: int
    items: bool = False
    newest: int | None = None
    since_order: bool = False


def needs(rule: Rule) -> list[Need]:
    """Return what a rule looks back at from the clock; that somebody was there at all is remembered apart."""
    if isinstance(rule, CartAbandonment):
        span = rule.after + rule.forget
        return [Need((CART, REMOVAL), span, items=True, since_order=True), Need((PURCHASE,), span, newest=1)]
    if isinstance(rule, RepeatedVisits):
        on_page = Need((VIEW, CART, REMOVAL, PAGE, OTHER), rule.within)
        return [on_page if rule.of == "page" else Need((VIEW, PURCHASE), rule.within, items=True)]
    if isinstance(rule, Condition):
        most = enough(rule.when)
        return [_counted(name, most.get(name)) for name in rule.variables]
    return []


def _counted(variable: str, most: int | None) -> Need:
    name, window = variable.rsplit("_", 1)
    kind = COUNTED[name]
    kinds = (VIEW, CART, REMOVAL, PAGE, OTHER, PURCHASE) if kind is None else (kind,)
    return Need(kinds, WINDOWS.get(window, WINDOWS["24h"]), newest=most)


def horizons(rules: Iterable[Rule]) -> IntVector:
    """Return how long before the clock events matter, in microseconds, shape (2, number of kinds).

    The first row is of an event's further items, the second of its first row; the column of a kind is its number + 1, for
    `SEEN` is -1. A withdrawal matters as long as anything before it.
    """
    spans = np.zeros((2, PURCHASE + 2), np.int64)
    for need in (need for rule in rules for need in needs(rule)):
        kinds = np.array(need.kinds) + 1
        spans[1, kinds] = np.maximum(spans[1, kinds], need.span)
        if need.items:
            spans[0, kinds] = np.maximum(spans[0, kinds], need.span)
    spans[:, WITHDRAWAL + 1] = spans.max()
    return spans


def is_within_horizon(events: Events, rules: Iterable[Rule]) -> BoolVector:
    """Return which rows are after the clock, or before it by less than their kind matters."""
    return np.asarray(events.at > events.upper - horizons(rules)[events.is_first.astype(np.int64), events.kind + 1])


def still_needed(events: Events, rules: Sequence[Rule], *, decided: int) -> BoolVector:
    """Return which rows a rule can still look at: fewer of those within their horizon.

    Parameters
    ----------
    events
        Those of `trigger_rules.distinct_rows`.
    decided
        Every clock has passed this: nothing at or before it is asked about any more, however late it arrives.
    """
    is_passed = events.at <= decided
    found = is_within_horizon(events, rules) & ((events.at > events.upper) | (events.kind == WITHDRAWAL))
    for need in {need for rule in rules for need in needs(rule)}:
        is_used = np.isin(events.kind, need.kinds) & (events.at > events.upper - need.span)
        if not need.items:
            is_used &= events.is_first
        if need.newest is not None:
            is_used &= ~is_passed | _is_newest(events.subject, is_used & is_passed, need.newest)
        if need.since_order:
            is_used &= ~_is_before(events.subject, is_passed & np.isin(events.kind, (PURCHASE, WITHDRAWAL)))
        found |= is_used
    return np.asarray(found)


def waits(rules: Iterable[Rule]) -> set[int]:
    """Return how long after an event something of its person can be due."""
    return {0, *[rule.after for rule in rules if isinstance(rule, CartAbandonment)]}


def first_due(at: IntVector, decided: IntVector, rules: Iterable[Rule]) -> int | None:
    """Return the earliest time after those decided at which something can be due if nothing more happens; None: there is none."""
    due = [at[at + wait > decided].min(initial=_NEVER) + wait for wait in waits(rules)]
    return int(min(due)) if min(due) < _NEVER else None


def _is_newest(subject: IntVector, chosen: BoolVector, count: int) -> BoolVector:
    """Mark of each subject's chosen rows the last `count`."""
    rows = np.flatnonzero(chosen)
    _, beyond = part_bounds(subject[rows])
    is_newest = np.zeros(len(subject), bool)
    is_newest[rows[beyond - np.arange(len(rows)) <= count]] = True
    return is_newest


def _is_before(subject: IntVector, is_end: BoolVector) -> BoolVector:
    """Mark the rows after which there is an end of the same subject."""
    ends = np.cumsum(is_end)
    _, beyond = part_bounds(subject)
    return np.asarray(ends[beyond - 1] > ends)
