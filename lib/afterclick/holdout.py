"""People kept out of training judge a model by what it would have shown before their last visit.

Always the same people (by a hash of the pseudonym), so neither a candidate nor any champion has learned from them,
and both are compared on the same visits by the production ranking code. docs/decisions/0040-gates.md says why.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from afterclick.connectors.redis_store import StoredHistory
from afterclick.histories import EVENT_TYPE_CODES, RECORD, merge_histories
from afterclick.list_records import TopList
from afterclick.models import item_keys
from afterclick.recommendations import Recommender

_NOTHING = np.zeros(0, RECORD)
_ALL = frozenset(EVENT_TYPE_CODES)


class Visit(NamedTuple):
    """What somebody did before a moment, and which items they acted on at it."""

    history: StoredHistory
    wanted: frozenset[str]
    at_ms: int = 0


class Hits(NamedTuple):
    """Per visit: was a wanted item among the first N (0 or 1), and one over the rank of the first one (0 if none)."""

    hit: npt.NDArray[np.float64]
    reciprocal_rank: npt.NDArray[np.float64]


def as_histories(interactions: pa.Table, *, length: int = 10_000) -> dict[str, StoredHistory]:
    """Return each person's history from rows with the first four columns of `schemas.INTERACTION`."""
    return {
        subject: StoredHistory(merge_histories(_NOTHING, _records(rows), length=length))
        for subject, rows in _by_subject(interactions).items()
    }


def last_visits(interactions: pa.Table, *, most: int, length: int, counted: Collection[str] = _ALL) -> list[Visit]:
    """Return the last moment of each person who has something before it, people in the order of their ids.

    Parameters
    ----------
    interactions
        Rows of `schemas.INTERACTION`.
    most
        People at most.
    length
        Most recent interactions kept before the moment, as in serving.
    counted
        Event types by which something is wanted: taking it out of the cart is none.
    """
    visits: list[Visit] = []
    for _, rows in sorted(_by_subject(interactions).items()):
        moment = max((row["event_ms"] for row in rows if row["event_type"] in counted), default=0)
        before = [row for row in rows if row["event_ms"] < moment]
        if before and len(visits) < most:
            history = merge_histories(_NOTHING, _records(before), length=length)
            acted = [row for row in rows if row["event_ms"] == moment and row["event_type"] in counted]
            wanted = frozenset(row["item_id"] for row in acted)
            visits.append(Visit(StoredHistory(history), wanted, moment))
    return visits


def visits_since(
    interactions: pa.Table, since_ms: int, *, most: int, length: int, counted: Collection[str] = _ALL
) -> list[Visit]:
    """Return every moment from `since_ms` on with what its person had done before, the `most` recent, oldest first.

    Parameters
    ----------
    interactions
        All rows of `schemas.INTERACTION` of the people who acted since.
    counted
        As in `last_visits`.
    """
    found: list[tuple[int, str, Visit]] = []
    for subject, rows in _by_subject(interactions).items():
        wanted: dict[int, set[str]] = {}
        for row in rows:
            if row["event_ms"] >= since_ms and row["event_type"] in counted:
                wanted.setdefault(row["event_ms"], set()).add(row["item_id"])
        history = merge_histories(_NOTHING, _records(rows), length=len(rows))
        for moment, items in wanted.items():
            before = int(np.searchsorted(history["event_ms"], moment))
            known = StoredHistory(history[max(0, before - length) : before])
            found.append((moment, subject, Visit(known, frozenset(items), moment)))
    return [visit for _, _, visit in sorted(found, key=lambda one: one[:2])[-most:]]


def judge(recommender: Recommender, visits: Sequence[Visit], *, n: int) -> Hits:
    """Return how the lists that the recommender makes of the histories fare."""
    lists = recommender.lists_at([visit.history for visit in visits], [visit.at_ms for visit in visits])
    return judge_lists(lists, visits, n=n)


def judge_lists(lists: Sequence[TopList], visits: Sequence[Visit], *, n: int) -> Hits:
    """Return how given lists fare."""
    ranks = [
        next((rank for rank, item in enumerate(top.items[:n], 1) if item.item_id in visit.wanted), 0)
        for top, visit in zip(lists, visits, strict=True)
    ]
    found = np.array(ranks, np.float64)
    return Hits((found > 0).astype(np.float64), np.divide(1.0, found, out=np.zeros(len(found)), where=found > 0))


def _by_subject(interactions: pa.Table) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in interactions.select(["subject_id", "item_id", "event_type", "event_ms"]).to_pylist():
        rows.setdefault(row["subject_id"], []).append(row)
    return rows


def _records(rows: Sequence[dict[str, Any]]) -> npt.NDArray[np.void]:
    records = np.zeros(len(rows), RECORD)
    records["item_key"] = item_keys([str(row["item_id"]) for row in rows])
    records["event_ms"] = [row["event_ms"] for row in rows]
    records["event_type"] = [EVENT_TYPE_CODES[str(row["event_type"])] for row in rows]
    return records
