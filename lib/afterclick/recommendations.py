"""Interactions in, lists out: Arrow table -> Redis -> Arrow table, on the driver or on executors.

Reads the touched people's histories, merges, folds in, ranks, and writes history and list together.
What is shown at a time depends on the history set and the model alone, so repeating a batch repeats it; a list for
a visit that is over by now is not made.
"""

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from afterclick.comparison import NO_COMPARISON, Comparison
from afterclick.connectors.redis_store import (
    CLOSED,
    CONFLICT,
    FENCED,
    MOVED,
    NOBODY,
    WRITTEN,
    Fence,
    ListUpdate,
    RedisStore,
    StoredHistory,
)
from afterclick.errors import StoreUnavailableError, VersionMovedError
from afterclick.histories import EVENT_TYPE_CODES, RECORD, History, merge_histories
from afterclick.list_records import TopList
from afterclick.models import item_keys
from afterclick.places import ListedItem
from afterclick.recommender import Recommender

__all__ = ["RESULT", "Reason", "Recommender", "put_in_front", "recompute_lists", "update_lists"]
RESULT = pa.schema([("written", pa.int64()), ("fenced", pa.int64())])
"""What updating one table did: numbers of subjects."""
_ATTEMPTS = 20


class Reason(NamedTuple):
    """Why a trigger recomputes a person's list: rule and kind, and the items it is about, most recent first."""

    rule: str
    kind: str
    item_ids: tuple[str, ...]


def update_lists(
    interactions: pa.Table,
    recommender: Recommender | None,
    store: RedisStore,
    *,
    length: int,
    fence: Fence | None,
    now_ms: int,
    comparison: Comparison = NO_COMPARISON,
) -> pa.Table:
    """Fold interactions into the touched people's histories and lists.

    Parameters
    ----------
    interactions
        Rows of `schemas.INTERACTION`, all of a person's in one table.
    recommender
        None before the first model: histories are kept, lists follow when a cache is warmed.
    length
        Most recent interactions to keep per person.
    fence
        The batch writing for the served version; None keeps each history's own (warming a cache beside the stream).
    comparison
        By whose sides people's lists are made.

    Returns
    -------
    pyarrow.Table
        One row of `RESULT`.

    Raises
    ------
    StoreUnavailableError
        If Redis fails, or a history keeps changing under us.
    VersionMovedError
        If a batch writes for a version that is no longer served.
    """
    if recommender:
        _ensure_names(recommender, store)
    serving = _version(recommender) if fence else None
    arrivals = _arrivals(interactions)
    return _write_all(
        arrivals, {}, recommender, store,
        length=length, fence=fence, serving=serving, now_ms=now_ms, comparison=comparison,
    )  # fmt: skip


def recompute_lists(
    reasons: Mapping[str, Reason],
    recommender: Recommender,
    store: RedisStore,
    *,
    length: int,
    now_ms: int,
    comparison: Comparison = NO_COMPARISON,
) -> pa.Table:
    """Compute the lists of people anew, with what triggered it in front; their next event computes them without.

    Parameters
    ----------
    reasons
        By subject.

    Returns
    -------
    pyarrow.Table
        One row of `RESULT`.

    Raises
    ------
    StoreUnavailableError
        If Redis fails, or a history keeps changing under us.
    """
    left = {subject_id: (np.zeros(0, RECORD), 0) for subject_id in reasons}
    _ensure_names(recommender, store)
    serving = _version(recommender)
    return _write_all(
        left, reasons, recommender, store,
        length=length, fence=None, serving=serving, now_ms=now_ms, comparison=comparison,
    )  # fmt: skip


def put_in_front(top: TopList, reason: Reason) -> TopList:
    """Return the list with a trigger's items first, as good as its best one, and no longer than before."""
    later = _in_front(top.later, reason) if top.later else None
    return msgspec.structs.replace(top, items=_in_front(top.items, reason), later=later, trigger=reason.rule)


def _in_front(items: Sequence[ListedItem], reason: Reason) -> list[ListedItem]:
    best = max((item.score for item in items), default=0.0)
    first = [ListedItem(item_id, best, reason.kind) for item_id in dict.fromkeys(reason.item_ids)]
    rest = [item for item in items if item.item_id not in reason.item_ids]
    return [*first, *rest][: len(items)]


def _write_all(
    left: dict[str, tuple[History, int]],
    reasons: Mapping[str, Reason],
    recommender: Recommender | None,
    store: RedisStore,
    *,
    length: int,
    fence: Fence | None,
    serving: str | None,
    now_ms: int,
    comparison: Comparison,
) -> pa.Table:
    """Read, merge, list and write; again for those whose history changed meanwhile."""
    counts = {WRITTEN: 0, FENCED: 0}
    for _ in range(_ATTEMPTS):
        if not left:
            return pa.table({"written": [counts[WRITTEN]], "fenced": [counts[FENCED]]}, schema=RESULT)
        subjects = list(left)
        stored = store.read_histories(subjects)
        merged = [_merge(old, *left[name], length) for name, old in zip(subjects, stored, strict=True)]
        lists: list[TopList | None] = [None] * len(merged)
        if recommender:
            lists = [*comparison.lists(recommender, subjects, merged, now_ms)]
        if reasons:
            lists = [
                put_in_front(top, reasons[name]) if top else None for name, top in zip(subjects, lists, strict=True)
            ]
        fences = [fence or (NOBODY if history.fence == CLOSED else history.fence) for history in stored]
        answers = store.write_lists(list(map(ListUpdate, subjects, merged, lists, fences, repeat(serving))))
        if MOVED in answers:
            raise VersionMovedError(f"model version {serving or 'none'} is no longer served: compute these lists again")
        counts = {answer: counts[answer] + answers.count(answer) for answer in counts}
        left = {n: left[n] for n, answer in zip(subjects, answers, strict=True) if answer == CONFLICT}
    message = (
        f"{len(left)} histories changed during each of {_ATTEMPTS} attempts to write them: two streams write one prefix"
    )
    raise StoreUnavailableError(message)


def _ensure_names(recommender: Recommender, store: RedisStore) -> None:
    """Store the ids of the version's items unless they are there: nobody could read its lists."""
    try:
        store.read_items(recommender.model.version)
    except StoreUnavailableError:
        store.write_items(recommender.model.version, recommender.item_ids)


def _version(recommender: Recommender | None) -> str:
    return recommender.model.version if recommender else ""


def _merge(stored: StoredHistory, arriving: History, fresh_as_of_ms: int, length: int) -> StoredHistory:
    records = merge_histories(stored.records, arriving, length=length)
    return StoredHistory(records, stored.revision, stored.fence, max(stored.fresh_as_of_ms, fresh_as_of_ms))


def _arrivals(interactions: pa.Table) -> dict[str, tuple[History, int]]:
    """Return each person's new records and the latest time of receipt."""
    items = interactions["item_id"].combine_chunks().dictionary_encode()
    kinds = interactions["event_type"].combine_chunks().dictionary_encode()
    people = interactions["subject_id"].combine_chunks().dictionary_encode()
    records = np.zeros(len(interactions), RECORD)
    keys = item_keys(items.dictionary.to_pylist())
    codes = np.array([EVENT_TYPE_CODES[name] for name in kinds.dictionary.to_pylist()], np.uint8)
    records["item_key"] = keys[items.indices.to_numpy()]
    records["event_type"] = codes[kinds.indices.to_numpy()]
    records["event_ms"] = interactions["event_ms"].to_numpy()
    person = people.indices.to_numpy()
    order = np.argsort(person, kind="stable")
    cuts = np.flatnonzero(np.diff(person[order])) + 1
    received = interactions["received_ms"].to_numpy()[order]
    names = people.dictionary.to_pylist()
    parts = zip(np.split(records[order], cuts), np.split(received, cuts), strict=True)
    return {name: (part, int(times.max())) for name, (part, times) in zip(names, parts, strict=True)} if names else {}
