"""Open sessions of a shard of people as Arrow tables: the operator of the stream and of `afterclick sessionize`.

One Arrow blob per shard instead of one state per person: docs/decisions/0002-session-state.md.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from afterclick.arrow_state import IntVector, concatenate, decode, encode, spelled, spelled_schema
from afterclick.models import item_keys
from afterclick.session_rules import (
    FIRSTS,
    Advance,
    BoolVector,
    Mentions,
    Sessions,
    advance,
    count_items,
    find_session,
)
from afterclick.session_state import MENTIONS, OPEN, SEEN, Shard, as_sessions, as_table, keep_mentions, part_of
from afterclick.vocabulary import EventType

ARRIVING = pa.schema(
    [
        ("subject_id", pa.string()),
        ("event_key", pa.int64()),
        ("event_id", pa.string()),
        ("event_type", pa.string()),
        ("event_us", pa.int64()),
        ("received_us", pa.int64()),
        ("value", pa.float64()),
        ("item_ids", pa.list_(pa.string())),
        ("page_path", pa.string()),
        ("campaign", pa.string()),
        ("device", pa.string()),
        ("dwell_ms", pa.int64()),
        ("scroll_percent", pa.float64()),
        ("may_trigger", pa.bool_()),
        ("partition", pa.int32()),
        ("sample_rate", pa.float64()),
    ]
)
"""Events as the operator takes them; `event_key` is a hash of `event_id`, `value` the sum of quantity times price,
times in microseconds, `may_trigger` says that the person allows personalisation, `sample_rate` the share of the
like that was kept (`load_shedding`)."""

SESSIONS = pa.schema([*spelled_schema(OPEN), ("item_count", pa.int64())])
_TIMES = ("started_at", "ended_at")


@dataclass(frozen=True)
class Cutting:
    """How sessions are cut: times in microseconds, see `session_rules.advance` and `count_items`."""

    gap_us: int
    close_on_order: bool = False
    item_limit: int = 500


class ShardChange(NamedTuple):
    """Outcome of one batch: new state; closed sessions and ongoing ones with new events (`SESSIONS`).

    `fresh` are the arrivals without repeated deliveries; `late` those after the watermark, with the id of the open
    session they would have joined.
    """

    shard: Shard
    closed: pa.Table
    ongoing: pa.Table
    late: pa.Table
    fresh: pa.Table


def advance_shard(shard: Shard, arriving: pa.Table, cutting: Cutting, *, watermark_us: int) -> ShardChange:
    """Apply `session_rules` to a shard.

    Parameters
    ----------
    arriving
        Columns of `ARRIVING`, any order, repeated deliveries included.
    """
    fresh = _drop_repeated(arriving, shard.seen)
    (known, new), people = encode(shard.open["subject_id"], fresh["subject_id"])
    is_awake = _is_awake(shard.open, known, new, cutting, watermark_us)
    subjects = decode(known, people)
    awake, asleep = part_of(shard, is_awake, subjects), part_of(shard, ~is_awake, subjects)
    known = known[is_awake]
    words = {
        name: encode(awake.open[name], fresh["page_path" if name == "entry_page" else name], in_order=True)
        for name in FIRSTS
    }
    before = as_sessions(awake.open, known, {name: codes[0] for name, (codes, _) in words.items()})
    events = _events_as_sessions(fresh, new, {name: codes[1] for name, (codes, _) in words.items()})
    rules = {"gap": cutting.gap_us, "close_on_order": cutting.close_on_order}
    change = advance(before, events, **rules, watermark=watermark_us)  # type: ignore[arg-type]
    mentions = _all_mentions(awake.mentions, known, fresh.filter(pa.array(~change.is_late)), new[~change.is_late])
    dictionaries = {"subject_id": people, **{name: dictionary for name, (_, dictionary) in words.items()}}

    closed, _, _ = _with_items(change.closed, mentions, cutting.item_limit, dictionaries)
    ongoing, still_named, uncounted = _with_items(change.ongoing, mentions, cutting.item_limit, dictionaries)
    if cutting.close_on_order:  # what is open stays single events, and so do their items: any may be cut off later
        still_named = Mentions(*[c[find_session(change.ongoing, *mentions[::2]) >= 0] for c in mentions])
    is_touched = _touched(change, new)
    seen = pa.concat_tables([shard.seen, fresh.select(SEEN.names)])
    still_needed = pc.greater_equal(seen["event_us"], watermark_us - cutting.gap_us)
    opened = change.open if cutting.close_on_order else uncounted
    state = Shard(
        concatenate(OPEN, [asleep.open, as_table(opened, dictionaries)]),
        concatenate(MENTIONS, [asleep.mentions, keep_mentions(still_named, opened, first_row=len(asleep.open))]),
        seen.filter(still_needed).combine_chunks(),
    )
    late = _with_session(fresh.filter(pa.array(change.is_late)), new[change.is_late], change, cutting.gap_us, people)
    return ShardChange(state, spelled(closed), spelled(ongoing.filter(pa.array(is_touched))), late, fresh)


def closed_frame(sessions: pa.Table) -> pd.DataFrame:
    """Return whole sessions (`SESSIONS`) as rows of `schemas.SESSION`."""
    return session_rows(sessions).to_pandas().astype(dict.fromkeys(_TIMES, "datetime64[ns]"))


def session_rows(sessions: pa.Table) -> pa.Table:
    """Return whole sessions (`SESSIONS`) with the columns of `schemas.SESSION`, in another order."""
    started, ended = sessions["started"], sessions["ended"]
    pairs = zip(sessions["subject_id"].to_pylist(), started.to_pylist(), strict=True)
    scroll = sessions["scroll_percent"]
    told = {
        "session_id": pa.array([session_id(*pair) for pair in pairs], pa.string()),
        "started_at": started.cast(pa.timestamp("us")),
        "ended_at": ended.cast(pa.timestamp("us")),
        "duration_ms": pc.divide(pc.subtract(ended, started), 1000),
        "scroll_percent": pc.if_else(pc.greater_equal(scroll, 0), scroll, pa.scalar(None, pa.float64())),
    }
    left_out = {"started", "ended", "scroll_percent", *[f"{name}_at" for name in FIRSTS]}
    return pa.table(told | {name: sessions[name] for name in sessions.column_names if name not in left_out})


def session_id(subject_id: str, started_us: int) -> str:
    """Return the id that a replay of the same events reproduces."""
    return hashlib.blake2b(f"{subject_id}:{started_us}".encode(), digest_size=16).hexdigest()


def _drop_repeated(arriving: pa.Table, seen: pa.Table) -> pa.Table:
    """Keep the first delivery of each event."""
    keys = arriving["event_key"].to_numpy()
    _, first = np.unique(keys, return_index=True)
    is_first = np.zeros(len(keys), bool)
    is_first[first] = True
    # Hashes the few that arrive, not all that were seen.
    again = seen["event_key"].filter(pc.is_in(seen["event_key"], value_set=arriving["event_key"]))
    is_known = pc.is_in(arriving["event_key"], value_set=again).to_numpy()
    return arriving.filter(pa.array(is_first & ~is_known))


def _is_awake(opened: pa.Table, known: IntVector, new: IntVector, cutting: Cutting, watermark_us: int) -> BoolVector:
    """Return which rows are of people who did something now (`new`), or of whom a session closes: of others nothing changes."""
    is_over = opened["ended"].to_numpy() < watermark_us - cutting.gap_us
    if cutting.close_on_order:
        is_over |= (opened["purchase_count"].to_numpy() > 0) & (opened["ended"].to_numpy() < watermark_us)
    return np.isin(known, np.concatenate([new, known[is_over]]))


def _events_as_sessions(events: pa.Table, codes: IntVector, words: dict[str, IntVector]) -> Sessions:
    at = events["event_us"].to_numpy()
    value = pc.fill_null(events["value"], 0.0).to_numpy()
    is_kind = {kind: pc.equal(events["event_type"], kind.value).to_numpy() for kind in EventType}
    cart, removal = is_kind[EventType.CART], is_kind[EventType.REMOVE_FROM_CART]
    counts = {
        "view_count": is_kind[EventType.VIEW],
        "cart_count": cart,
        "removal_count": removal,
        "purchase_count": is_kind[EventType.PURCHASE],
        "page_count": is_kind[EventType.PAGE] | is_kind[EventType.SCREEN],
    }
    columns: dict[str, Any] = {
        "subject": codes,
        "started": at,
        "ended": at,
        "event_count": np.ones(len(at), np.int64),
        **{name: count.astype(np.int64) for name, count in counts.items()},
        "dwell_ms": pc.fill_null(events["dwell_ms"], 0).to_numpy(),
        "uncounted_items": np.zeros(len(at), np.int64),
        "cart_value": value * cart - value * removal,
        "estimated_event_count": 1.0 / pc.fill_null(events["sample_rate"], 1.0).to_numpy(),
        "order_value": value * counts["purchase_count"],
        "scroll_percent": pc.fill_null(events["scroll_percent"], -1.0).to_numpy(),
        **words,
        **{f"{name}_at": at for name in words},
    }
    return Sessions(**columns)


def _all_mentions(stored: pa.Table, known: IntVector, events: pa.Table, codes: IntVector) -> Mentions:
    lists = events["item_ids"].combine_chunks()
    parents = pc.list_parent_indices(lists).to_numpy()
    named = pc.list_flatten(lists).dictionary_encode()
    new = item_keys(named.dictionary.to_pylist()).astype(np.uint64).view(np.int64)
    indices = named.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    parents, indices = parents[indices >= 0], indices[indices >= 0]
    return Mentions(
        np.concatenate([known[stored["row"].to_numpy()], codes[parents]]),
        np.concatenate([stored["item"].to_numpy(), new[indices]]),
        np.concatenate([stored["at"].to_numpy(), events["event_us"].to_numpy()[parents]]),
    )


def _with_items(
    sessions: Sessions, mentions: Mentions, limit: int, dictionaries: dict[str, pa.Array]
) -> tuple[pa.Table, Mentions, Sessions]:
    """Return whole sessions with their items counted, the mentions that stay, and the sessions without the count."""
    counts = count_items(sessions, mentions, limit=limit)
    fields = {name: getattr(sessions, name) for name in sessions.__dataclass_fields__}
    counted = Sessions(**{**fields, "uncounted_items": sessions.uncounted_items + counts.uncounted})
    table = as_table(counted, dictionaries).append_column("item_count", pa.array(counts.distinct, pa.int64()))
    return table, Mentions(*[column[counts.kept] for column in mentions]), counted


def _touched(change: Advance, new: IntVector) -> Any:
    return np.isin(change.ongoing.subject, np.unique(new[~change.is_late]))


def _with_session(late: pa.Table, codes: IntVector, change: Advance, gap: int, people: pa.Array) -> pa.Table:
    """Add the id of the session, open or just closed, that each late event would have joined."""
    at = late["event_us"].to_numpy()
    ids: list[str | None] = [None] * len(late)
    for sessions in (change.ongoing, change.closed):
        for place, row in enumerate(find_session(sessions, codes, at, gap=gap)):
            if row >= 0:
                ids[place] = session_id(people[int(codes[place])].as_py(), int(sessions.started[row]))
    return late.append_column("session_id", pa.array(ids, pa.string()))
