"""How long triggers remember what, by the rules there are. numpy only."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from afterclick.activity_rules import CART, COUNTED, OTHER, PAGE, PURCHASE, REMOVAL, VIEW, WINDOWS, WITHDRAWAL
from afterclick.sorted_groups import IntVector
from afterclick.trigger_rules import CartAbandonment, Condition, RepeatedVisits, Rule


class Need(NamedTuple):
    """Events of some kinds that a rule still looks at after `span` microseconds; `items`: not only that they were."""

    kinds: tuple[int, ...]
    span: int
    items: bool


def needs(rule: Rule) -> list[Need]:
    """Return what a rule looks back at from the clock; that somebody was there at all is remembered apart."""
    if isinstance(rule, CartAbandonment):
        span = rule.after + rule.forget
        return [Need((CART, REMOVAL), span, items=True), Need((PURCHASE,), span, items=False)]
    if isinstance(rule, RepeatedVisits):
        on_page = Need((VIEW, CART, REMOVAL, PAGE, OTHER), rule.within, items=False)
        return [on_page if rule.of == "page" else Need((VIEW, PURCHASE), rule.within, items=True)]
    if isinstance(rule, Condition):
        counted = [(COUNTED[name.rpartition("_")[0]], name.rpartition("_")[2]) for name in rule.variables]
        every = (VIEW, CART, REMOVAL, PAGE, OTHER, PURCHASE)
        return [
            Need(every if kind is None else (kind,), WINDOWS.get(window, WINDOWS["24h"]), items=False)
            for kind, window in counted
        ]
    return []


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
