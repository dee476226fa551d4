"""What the API answers, and how a list becomes an answer: pure rules, no I/O."""

import random
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, make_dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import msgspec
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema
from starlette.responses import Response

from afterclick.exploration import explore
from afterclick.list_records import TopList
from afterclick.places import ListedItem
from afterclick.recommender import Explained
from afterclick.serving.catalogue import NO_CATALOGUE, Catalogue
from afterclick.serving.choosing import Chosen, Hidden, Rules, choose


class _Part(msgspec.Struct):
    """A part of an answer: made and encoded in a third of a dataclass's time, and described to FastAPI as one."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of a dataclass with the same fields."""
        columns = [
            (told.name, told.type, field(default=MISSING if told.required else told.default))
            for told in msgspec.structs.fields(cls)
        ]
        return handler.generate_schema(make_dataclass(cls.__name__, columns, namespace={"__doc__": cls.__doc__}))


class Carrier(_Part):
    """A past item and its exact share of a fold-in score."""

    item_id: str
    share: float
    """Those of all past items sum to 1; some may be negative."""


class RankedItem(_Part):
    """One place of the list."""

    rank: int
    item_id: str
    score: float
    """Comparable inside one list only."""
    reason: str
    """The source that brought most of the score: ``because_you_interacted`` (fold-in), ``others_went_on``
    (co-visitation), ``again`` (own frequency), ``popular``, ``trending``, ``similar``; or the kind of the trigger that
    put it in front."""
    because: str | None = None
    """With ``explain``, where the API has the model: the past item that brought most of the score."""
    share: float | None = None
    """Likewise: its share of the score, 0-1."""
    carried_by: list[Carrier] | None = None
    """Likewise: the past items that carried the fold-in part most."""
    propensity: float | None = None
    """Where this placement explores: the probability with which this item stands at this place."""


@dataclass(slots=True, kw_only=True)
class Recommendations:
    """One answer, all of one model version."""

    source: str
    """``fold_in``: personal; ``session``: from the items sent; ``similar``: to one item; ``popular``: nothing is known
    of this person, or the store is away."""
    model_version: str
    fresh_as_of: str | None
    """Every event received up to this time is in the list; null without personal events."""
    generated_at: str
    trigger: str | None = None
    """The trigger rule that changed the list since the person's last event, if any."""
    placement: str | None = None
    """Where the client shows it, as it said."""
    bucket: str | None = None
    """The person's bucket of a comparison side by side (``serving.buckets``); the same each time."""
    list_id: str | None = None
    """Number of this list in the log of what was shown; null where it is not logged."""
    attribution: str | None = None
    """Token to send back with the events that follow from this list, as ``properties.attribution``."""
    relaxed: list[str] = field(default_factory=list)
    """What was asked and could not be kept: ``category`` (it has no item that may be shown), ``per_category`` (nothing
    else is left), ``exclude_seen`` (the store is away, and what this person had is not in memory)."""
    items: list[RankedItem]


def build_answer(
    personal: TopList | None,
    popular: TopList,
    *,
    rules: Rules,
    hidden: Hidden,
    catalogue: Catalogue = NO_CATALOGUE,
    now_ms: int,
    exploring: tuple[float, random.Random] | None = None,
) -> Recommendations:
    """Return up to ``rules.n`` items: the person's, then popular ones where theirs do not suffice, then any.

    Parameters
    ----------
    personal
        After its person's visit has ended the list for their next one is shown.
    hidden
        What must not be shown: an answer is empty only where the whole catalogue is.
    exploring
        Share of lists with an explored place, and the source of chance.
    """
    top = personal.at(now_ms) if personal else popular
    chosen = _choose(top, popular, catalogue, rules, hidden)
    items, propensities = chosen.items, None
    if exploring:
        share, draw = exploring
        items, propensities = explore(items, chosen.reserve, fixed=chosen.pinned, share=share, draw=draw)
    answer = Recommendations(
        source=top.source,
        model_version=top.model_version,
        fresh_as_of=_iso(top.fresh_as_of_ms) if top.fresh_as_of_ms else None,
        generated_at=_iso(top.generated_at_ms if personal else now_ms),
        trigger=top.trigger,
        relaxed=chosen.relaxed,
        items=[RankedItem(rank, item.item_id, item.score, item.reason) for rank, item in enumerate(items, 1)],
    )
    if propensities:
        for item, propensity in zip(answer.items, propensities, strict=True):
            item.propensity = propensity
    return answer


def _choose(top: TopList, popular: TopList, catalogue: Catalogue, rules: Rules, hidden: Hidden) -> Chosen:
    if rules.category is not None:
        inside = (i for i in chain(top.items, popular.items) if catalogue.category_of.get(i.item_id) == rules.category)
        rest = map(_filler, catalogue.of_category.get(rules.category, ()))
        chosen = choose(chain(inside, rest), rules, hidden, catalogue.category_of)
        if len(chosen.items) > chosen.pinned or chosen.pinned == rules.n:
            return chosen
    rest = map(_filler, catalogue.by_popularity)
    chosen = choose(chain(top.items, popular.items, rest), rules, hidden, catalogue.category_of)
    return chosen if rules.category is None else chosen._replace(relaxed=["category", *chosen.relaxed])


def _filler(item_id: str) -> ListedItem:
    return ListedItem(item_id, 0.0, "popular")


def with_explanations(answer: Recommendations, explained: Mapping[str, Explained]) -> Recommendations:
    """Return the answer with what is behind each place."""
    items = [_explained(item, found) if (found := explained.get(item.item_id)) else item for item in answer.items]
    return replace(answer, items=items)


def _explained(item: RankedItem, found: Explained) -> RankedItem:
    carried_by = [Carrier(past, share) for past, share in found.carried_by]
    return msgspec.structs.replace(item, because=found.because, share=found.share, carried_by=carried_by)


def as_response(answer: Recommendations | dict[str, Recommendations]) -> Response:
    """Return the HTTP answer; FastAPI would check every field of it once more."""
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
