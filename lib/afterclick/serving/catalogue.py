"""What the API knows of items: ids by popularity, and categories. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple


class Catalogue(NamedTuple):
    """What the API knows of items: the category of those that have one, and all ids, the most popular first.

    Parameters
    ----------
    of_category
        Ids by category, the most popular first.
    """

    by_popularity: Sequence[str] = ()
    category_of: Mapping[str, str] = MappingProxyType({})
    of_category: Mapping[str, Sequence[str]] = MappingProxyType({})


NO_CATALOGUE = Catalogue()


def build_catalogue(by_popularity: Sequence[str], category_of: Mapping[str, str]) -> Catalogue:
    """Return a catalogue; of a category, items that the model does not know come last, by id."""
    known = frozenset(by_popularity)
    others = sorted(item_id for item_id in category_of if item_id not in known)
    of_category: dict[str, list[str]] = {}
    for item_id in (*by_popularity, *others):
        if (category := category_of.get(item_id)) is not None:
            of_category.setdefault(category, []).append(item_id)
    return Catalogue(by_popularity, category_of, of_category)
