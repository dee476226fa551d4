"""A known share of lists shows, at one place, an item from just below the list: so that others' worth can be learned. Pure."""

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Shown(NamedTuple):
    """The items of a list and, for each, the probability that it stands at its place."""

    items: list  # type: ignore[type-arg]  # NamedTuple of a type variable: Python 3.11 has none
    propensities: list[float]


def explore(items: Sequence[Item], reserve: Sequence[Item], *, fixed: int, share: float, draw: random.Random) -> Shown:
    """Return the list as it is shown: with probability `share` one place has an item of `reserve` instead of its own.

    Parameters
    ----------
    reserve
        What may take a place; none is in `items`.
    fixed
        Places at the front that are never explored.
    share
        Share of lists with an explored place, 0-1.

    Notes
    -----
    With k places that may be explored and m items in `reserve`, an own item stands at its place with probability
    ``1 - share / k`` and an item of `reserve` at any one of them with ``share / (k * m)``. At each place these sum to 1,
    so a sum over what was shown, each weighed by 1 / propensity, is an unbiased estimate of any policy that shows items
    of the list and the reserve.

    References
    ----------
    Horvitz and Thompson (1952), "A generalization of sampling without replacement from a finite universe", section 3;
    Li, Chu, Langford, Wang (2011), "Unbiased offline evaluation of contextual-bandit-based news article recommendation
    algorithms", section 3.
    """
    shown, free = list(items), len(items) - fixed
    if share <= 0 or free <= 0 or not reserve:
        return Shown(shown, [1.0] * len(shown))
    propensities = [1.0] * fixed + [1.0 - share / free] * free
    if draw.random() < share:
        place = fixed + draw.randrange(free)
        shown[place] = reserve[draw.randrange(len(reserve))]
        propensities[place] = share / (free * len(reserve))
    return Shown(shown, propensities)
