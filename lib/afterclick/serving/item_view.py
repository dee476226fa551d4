"""What the status page shows of one item: how it is doing, what goes with it, and in whose lists it stands."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from afterclick.connectors.activity_store import Counts
from afterclick.models import item_keys
from afterclick.places import ListedItem
from afterclick.recommender import Recommender
from afterclick.serving.list_reader import ListReader

LISTS = 2_000
"""Lists looked at for the item: a sample where there are more."""
COMPANIONS = 10


@dataclass(frozen=True)
class ItemFacts:
    """What the served model knows; shares of 1, ranks from 1."""

    popularity_rank: int
    trend_rank: int | None
    items: int
    followers: Sequence[tuple[str, float]] = ()
    """What people did next, with the share of steps from this item."""
    similar: Sequence[ListedItem] = ()


@dataclass(frozen=True)
class ItemView:
    """One item; `facts` is None where the model does not know it or is not on this machine."""

    item_id: str
    facts: ItemFacts | None
    activity: Counts = field(default_factory=dict)
    listed: int = 0
    looked_at: int = 0
    popular_place: int | None = None
    is_withdrawn: bool = False


async def read_item(reader: ListReader, item_id: str) -> ItemView:
    """Return what there is of an item.

    Raises
    ------
    ModelNotFoundError
        If there has never been a model.
    StoreUnavailableError
        If Redis does not answer.
    """
    places = {item.item_id: place for place, item in enumerate(reader.popular().items, 1)}
    recommender = reader.models.recommender
    activity, lists = await reader.read_activity("item", item_id), await reader.sample_lists(LISTS)
    return ItemView(
        item_id,
        await asyncio.to_thread(item_facts, recommender, item_id) if recommender else None,
        activity,
        sum(any(item.item_id == item_id for item in top.items) for top in lists),
        len(lists),
        places.get(item_id),
        item_id in reader.withdrawn,
    )


def item_facts(recommender: Recommender, item_id: str) -> ItemFacts | None:
    """Return what a model knows of an item; None when it does not know it."""
    model, sources = recommender.model, recommender.model.sources
    row = int(model.index_of(item_keys([item_id]))[0])
    if row < 0:
        return None
    similar = recommender.similar(item_id, min(COMPANIONS, len(model.item_ids) - 1), 0)
    followers: Mapping[str, float] = {}
    if sources:
        found = sources.read_followers(np.array([row]))
        shares = zip(
            found.followers.tolist(), (found.weights / max(float(found.totals[0]), 1e-12)).tolist(), strict=True
        )
        followers = {recommender.item_ids[follower]: share for follower, share in shares}
    best = sorted(followers.items(), key=lambda pair: -pair[1])[:COMPANIONS]
    return ItemFacts(
        1 + int((model.popularity > model.popularity[row]).sum()),
        1 + int((sources.trend > sources.trend[row]).sum()) if sources else None,
        len(model.item_ids),
        best,
        similar.items if similar else (),
    )
