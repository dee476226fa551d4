"""Which items an answer holds: what is hidden, pinned, of a category, and how many of each category. Pure, no I/O."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from afterclick.models import item_keys
from afterclick.places import ListedItem

MOST_OVER = 1_000
"""Items beyond a category's cap that are passed over before the cap is given up: bounds the time of one answer."""


class Hidden(NamedTuple):
    """What an answer must not hold, whatever else was asked.

    Parameters
    ----------
    excluded
        Item ids that the client or the placement named.
    withdrawn
        Item ids that nobody may get.
    seen
        Keys (`models.item_keys`) of what the person had.
    """

    excluded: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()
    seen: frozenset[int] = frozenset()

    def leaves(self, item_id: str) -> bool:
        """Return whether an item may be shown."""
        if item_id in self.excluded or item_id in self.withdrawn:
            return False
        return not self.seen or int(item_keys([item_id])[0]) not in self.seen


class Rules(NamedTuple):
    """What an answer should be like.

    Parameters
    ----------
    n
        Items wanted.
    pinned
        Item ids that come first, in this order.
    category
        All others are of it, unless it has none that may be shown.
    per_category
        At most so many of one category, as long as others are left; items without a category are not counted.
    reserve
        Next best items wanted beside the list, for exploration.
    """

    n: int
    pinned: tuple[str, ...] = ()
    category: str | None = None
    per_category: int | None = None
    reserve: int = 0


class Chosen(NamedTuple):
    """The items of an answer, the first `pinned` of them pinned, the next best, and which rules could not be kept."""

    items: list[ListedItem]
    pinned: int
    reserve: list[ListedItem]
    relaxed: list[str]


def choose(candidates: Iterable[ListedItem], rules: Rules, hidden: Hidden, category_of: Mapping[str, str]) -> Chosen:
    """Return up to ``rules.n`` candidates in their order, each item once, after the pinned ones.

    An answer is shorter than ``rules.n`` only where fewer candidates may be shown; no rule but `hidden` makes it so.
    """
    pinned = {item_id: ListedItem(item_id, 0.0, "pinned") for item_id in rules.pinned if hidden.leaves(item_id)}
    first = list(pinned.values())[: rules.n]  # in their order, each once
    allowed = _allowed(candidates, hidden, {item.item_id for item in first})
    if rules.per_category is not None:
        return _choose_capped(allowed, first, rules, rules.per_category, category_of)
    free = rules.n - len(first)
    best = list(islice(allowed, free + rules.reserve))
    return Chosen(first + best[:free], len(first), best[free:], [])


def _choose_capped(
    allowed: Iterable[ListedItem], first: list[ListedItem], rules: Rules, most: int, category_of: Mapping[str, str]
) -> Chosen:
    counts = Counter(category_of.get(item.item_id) for item in first)
    counts[None] = 0
    chosen, over, reserve = [*first], list[ListedItem](), list[ListedItem]()
    for item in allowed:
        category = category_of.get(item.item_id)
        if counts[category] >= most:
            over.append(item)
            if len(over) > MOST_OVER:
                break
        elif len(chosen) < rules.n:
            chosen.append(item)
            if category is not None:
                counts[category] += 1
        elif len(reserve) < rules.reserve:
            reserve.append(item)
        if len(chosen) == rules.n and len(reserve) == rules.reserve:
            break
    missing = over[: rules.n - len(chosen)]
    return Chosen(chosen + missing, len(first), reserve, ["per_category"] if missing else [])


def _allowed(candidates: Iterable[ListedItem], hidden: Hidden, have: set[str]) -> Iterator[ListedItem]:
    for item in candidates:
        item_id = item.item_id
        if item_id not in have and hidden.leaves(item_id):
            have.add(item_id)
            yield item
