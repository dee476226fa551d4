"""When a person's events fire a trigger: numpy only. `triggers` adapts these rules to Spark.

A trigger is due at an event time: of an event, or some time after one. It is decided once, when the clock of
the events has passed that time, from every event known by then; what comes later decides only what is still open.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import repeat
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from afterclick.activity_rules import CART, OTHER, PURCHASE, REMOVAL, VIEW, WITHDRAWAL, count_recent
from afterclick.sorted_groups import IntVector

BoolVector = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """What all rules have: a name, and the least time between two of one person's triggers, in microseconds."""

    name: str
    cooldown: int


@dataclass(frozen=True)
class CartAbandonment(Rule):
    """Something in the cart and no order within `after` the last cart action; what is older than `forget` is not in it."""

    after: int
    forget: int


@dataclass(frozen=True)
class RepeatedVisits(Rule):
    """The same item or page (`of`) `times` times within `within`, since its last purchase."""

    of: str
    times: int
    within: int


@dataclass(frozen=True)
class ReturnAfterAbsence(Rule):
    """The first event after at least `absence` without one."""

    absence: int


@dataclass(frozen=True)
class Condition(Rule):
    """`holds` of the person's aggregates at one of their events; `variables` are those it reads."""

    when: str
    variables: tuple[str, ...]
    holds: Callable[[Mapping[str, float]], bool]


@dataclass(frozen=True)
class Events:
    """Events of people as parallel arrays, one row per item of an event.

    Parameters
    ----------
    subject, item, page
        Codes; -1 = none.
    at, lower, upper
        Microseconds since the epoch: when it happened, and the times after and up to which its person is decided now.
    is_first
        The first row of its event: an event with three items counts once.
    """

    subject: IntVector
    at: IntVector
    kind: IntVector
    item: IntVector
    page: IntVector
    is_first: BoolVector
    lower: IntVector
    upper: IntVector

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.subject)

    def take(self, chosen: BoolVector | IntVector) -> Self:
        """Keep the rows that `chosen` marks or numbers."""
        return type(self)(*[getattr(self, field.name)[chosen] for field in fields(self)])


class Due(NamedTuple):
    """A trigger that is due: of whom, when, after which event, and about which items, most recent first."""

    subject: int
    due: int
    anchor: int
    items: tuple[int, ...]


def distinct_rows(events: Events) -> IntVector:
    """Return which rows a set would hold once, as `find_due` wants them: by subject, time, kind, item, page.

    Of equal ones it is the one that stands for its event.
    """
    order = np.lexsort((events.at, events.subject))
    is_second = np.zeros(len(order), bool)
    is_second[1:] = (np.diff(events.subject[order]) == 0) & (np.diff(events.at[order]) == 0)
    tied = np.flatnonzero(is_second | np.append(is_second[1:], False)[: len(order)])
    keys = (~events.is_first, events.page, events.item, events.kind, events.at, events.subject)
    order[tied] = order[tied][np.lexsort([key[order[tied]] for key in keys])]
    second = np.flatnonzero(is_second)
    is_equal = [key[order[second]] == key[order[second - 1]] for key in (events.page, events.item, events.kind)]
    return np.asarray(np.delete(order, second[np.all(is_equal, axis=0)]), np.int64)


def find_due(rule: Rule, events: Events) -> list[Due]:
    """Return what is due in each row's (lower, upper], in the order of time, before any cooldown.

    Parameters
    ----------
    events
        Those of `distinct_rows`.
    """
    finders: dict[type[Rule], Callable[[Any, Events], list[Due]]] = {
        CartAbandonment: _abandoned_carts,
        RepeatedVisits: _repeated_visits,
        ReturnAfterAbsence: _returns,
        Condition: _conditions,
    }
    finder = finders.get(type(rule))  # none for rules that follow from something else than events
    return sorted(finder(rule, events), key=lambda due: (due.due, due.subject)) if finder else []


def keep_cooldown(rule: Rule, due: Sequence[Due], last: dict[int, int]) -> list[Due]:
    """Leave out what comes sooner than the cooldown after the person's last trigger of the rule.

    Parameters
    ----------
    due
        In the order of time.
    last
        Due time of the last trigger by subject; brought up to date.
    """
    kept = []
    for one in due:
        if one.subject not in last or one.due - last[one.subject] >= rule.cooldown:
            last[one.subject] = one.due
            kept.append(one)
    return kept


def _is_due(at: IntVector, rows: Events) -> BoolVector:
    return (at > rows.lower) & (at <= rows.upper)


def _abandoned_carts(rule: CartAbandonment, events: Events) -> list[Due]:
    rows = events.take(np.isin(events.kind, (CART, REMOVAL, PURCHASE, WITHDRAWAL)))
    is_action = (rows.kind == CART) | (rows.kind == REMOVAL)
    following = np.full(len(rows), np.iinfo(np.int64).max)
    same = rows.subject[1:] == rows.subject[:-1]
    following[:-1][same] = rows.at[1:][same]
    due = rows.at + rule.after
    found = np.flatnonzero(is_action & (following > due) & _is_due(due, rows))
    carts = ((row, _cart(rows, int(row), rule.forget)) for row in found)
    return [Due(int(rows.subject[r]), int(due[r]), int(rows.at[r]), items) for r, items in carts if items]


def _cart(rows: Events, last: int, forget: int) -> tuple[int, ...]:
    """Return what is in the cart after row `last`, most recent first."""
    found: list[int] = []
    removed: set[int] = set()
    for row in range(last, -1, -1):
        is_over = rows.subject[row] != rows.subject[last] or rows.kind[row] in {PURCHASE, WITHDRAWAL}
        if is_over or rows.at[row] < rows.at[last] - forget:
            break
        item = int(rows.item[row])
        if rows.kind[row] == REMOVAL:
            removed.add(item)
        elif item >= 0 and item not in removed and item not in found:
            found.append(item)
    return tuple(found)


def _eras(rows: Events, is_end: BoolVector, *more: IntVector) -> IntVector:
    """Return a number for each run of rows of one subject (and `more`) that end after a row of `is_end`."""
    is_new = np.ones(len(rows), bool)
    is_new[1:] = (np.diff(rows.subject) != 0) | is_end[:-1]
    for column in more:
        is_new[1:] |= np.diff(column) != 0
    return np.cumsum(is_new)


def _since_consent(rows: Events) -> IntVector:
    return _eras(rows, rows.kind == WITHDRAWAL)


def _repeated_visits(rule: RepeatedVisits, events: Events) -> list[Due]:
    thing = events.item if rule.of == "item" else events.page
    is_visit = (events.kind == VIEW) if rule.of == "item" else events.is_first & (events.kind <= OTHER)
    is_used = (thing >= 0) & (is_visit | ((events.kind == PURCHASE) & (rule.of == "item")))
    is_asked = is_visit & _is_due(events.at, events)
    era = _since_consent(events)
    used = _often(np.flatnonzero(is_used), era * (thing.max(initial=0) + 1) + thing, is_asked, rule.times)
    rows, things, era = events.take(used), thing[used], era[used]
    order = np.lexsort((rows.kind, rows.at, things, era))
    rows, things, era = rows.take(order), things[order], era[order]
    run = _eras(rows, rows.kind == PURCHASE, things, era)
    back = rule.times - 1
    reached = np.zeros(len(rows), bool)
    reached[back:] = (run[back:] == run[: len(rows) - back]) & (
        rows.at[back:] - rows.at[: len(rows) - back] <= rule.within
    )
    found = np.flatnonzero(reached & (rows.kind != PURCHASE) & _is_due(rows.at, rows))
    items = [(item,) if item >= 0 else () for item in rows.item[found].tolist()]
    return _due_at_once(rows, found, items)


def _often(used: IntVector, key: IntVector, is_asked: BoolVector, times: int) -> IntVector:
    """Return the used rows whose key stands in at least `times` of them, one of which is asked about."""
    asked = np.unique(key[used][is_asked[used]])
    if not len(asked):
        return used[:0]
    place = np.minimum(np.searchsorted(asked, key[used]), len(asked) - 1)
    is_of_asked = asked[place] == key[used]
    count = np.bincount(place[is_of_asked], minlength=len(asked))
    return np.asarray(used[is_of_asked & (count[place] >= times)])


def _returns(rule: ReturnAfterAbsence, events: Events) -> list[Due]:
    before = np.full(len(events), np.iinfo(np.int64).max)
    same = np.diff(_since_consent(events)) == 0
    before[1:][same] = events.at[:-1][same]
    is_back = (events.at - rule.absence >= before) & (events.kind >= 0) & (events.kind != WITHDRAWAL)
    return _due_at_once(events, np.flatnonzero(is_back & _is_due(events.at, events)))


def _conditions(rule: Condition, events: Events) -> list[Due]:
    used = np.flatnonzero(events.is_first & (events.kind >= 0) & (events.kind != WITHDRAWAL))
    era, at, kind = _since_consent(events)[used], events.at[used], events.kind[used]
    asked = np.flatnonzero(_is_due(events.at, events)[used])
    columns = [count_recent(at, kind, era, asked, name) for name in rule.variables]
    case = np.zeros(len(asked), np.int64)
    for column in columns:
        values, place = np.unique(column, return_inverse=True)
        case = np.unique(case * len(values) + place, return_inverse=True)[1]
    _, example = np.unique(case, return_index=True)
    lines = zip(*[column[example].tolist() for column in columns], strict=True)
    answers = np.array([rule.holds(dict(zip(rule.variables, line, strict=True))) for line in lines], bool)
    return _due_at_once(events, used[asked[answers[case]]] if len(asked) else asked)


def _due_at_once(rows: Events, found: IntVector, items: Iterable[tuple[int, ...]] = repeat(())) -> list[Due]:
    """Return triggers that are due when their event happens."""
    at = rows.at[found].tolist()
    return list(map(Due, rows.subject[found].tolist(), at, at, items))
