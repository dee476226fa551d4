"""What the API answers, and how a list becomes an answer: pure rules, no I/O."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import BaseModel

from afterclick.connectors.redis_store import ListedItem, StoredHistory, TopList
from afterclick.models import item_keys


class Carrier(BaseModel):
    """A past item and its exact share of a fold-in score."""

    item_id: str
    share: float
    """Those of all past items sum to 1; some may be negative."""


class RankedItem(BaseModel):
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
    """With ``explain``: the past item that brought most of the score."""
    share: float | None = None
    """With ``explain``: its share of the score, 0-1."""
    carried_by: list[Carrier] | None = None
    """With ``explain``, where the API has the model: the past items that carried the fold-in part most."""


class Recommendations(BaseModel):
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
    items: list[RankedItem]


class Hidden(NamedTuple):
    """What an answer must not hold.

    Parameters
    ----------
    excluded
        Item ids that the client named.
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


def build_answer(
    personal: TopList | None,
    popular: TopList,
    *,
    n: int,
    excluded: frozenset[str] = frozenset(),
    hidden: Hidden | None = None,
    fallback: Iterable[str] = (),
    explain: bool,
    now_ms: int,
    placement: str | None = None,
) -> Recommendations:
    """Return up to `n` items: the person's, then popular ones where theirs do not suffice.

    Parameters
    ----------
    personal
        After its person's visit has ended the list for their next one is shown.
    hidden
        What must not be shown; None = `excluded` alone.
    fallback
        Item ids to take where even the popular list does not suffice, best first: the whole catalogue, so that an
        answer is empty only where every item is hidden.
    """
    top = personal.at(now_ms) if personal else popular
    chosen = list(_first(n, _candidates(top, popular, fallback), hidden or Hidden(excluded)))
    return Recommendations(
        source=top.source,
        model_version=top.model_version,
        fresh_as_of=_iso(top.fresh_as_of_ms) if top.fresh_as_of_ms else None,
        generated_at=_iso(top.generated_at_ms if personal else now_ms),
        trigger=top.trigger,
        placement=placement,
        items=[_ranked(rank, item, explain=explain) for rank, item in enumerate(chosen, 1)],
    )


def with_carriers(answer: Recommendations, carriers: Mapping[str, list[tuple[str, float]]]) -> Recommendations:
    """Return the answer with the past items that carried each place."""
    items = [
        item.model_copy(update={"carried_by": [Carrier(item_id=past, share=share) for past, share in found]})
        if (found := carriers.get(item.item_id))
        else item
        for item in answer.items
    ]
    return answer.model_copy(update={"items": items})


def seen_keys(history: StoredHistory | None) -> frozenset[int]:
    """Return the keys of a history's items."""
    return frozenset(history.records["item_key"].tolist()) if history else frozenset()


def _candidates(top: TopList, popular: TopList, fallback: Iterable[str]) -> Iterator[ListedItem]:
    yield from top.items
    yield from popular.items
    for item_id in fallback:
        yield ListedItem(item_id, 0.0, "popular")


def _first(n: int, items: Iterable[ListedItem], hidden: Hidden) -> Iterator[ListedItem]:
    """Yield the first `n` that may be shown, each item once."""
    have: set[str] = set()
    for item in items:
        if len(have) == n:
            return
        if item.item_id not in have and hidden.leaves(item.item_id):
            have.add(item.item_id)
            yield item


def _ranked(rank: int, item: ListedItem, *, explain: bool) -> RankedItem:
    answer = RankedItem(rank=rank, item_id=item.item_id, score=item.score, reason=item.reason)
    return answer.model_copy(update={"because": item.because, "share": item.share}) if explain else answer


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
