"""Events -> triggers of a shard of people: `trigger_rules` over Arrow tables, the same live and for a replay.

The state holds, as sets, the events the rules still need, so that a redelivered event changes nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from afterclick.activity_rules import KINDS, OTHER, SEEN, WITHDRAWAL
from afterclick.arrow_state import WORD, IntVector, concatenate, decode, encode
from afterclick.trigger_file import kind_of
from afterclick.trigger_memory import first_due, is_within_horizon, still_needed, waits
from afterclick.trigger_rules import (
    BoolVector,
    Due,
    Events,
    ReturnAfterAbsence,
    Rule,
    distinct_rows,
    find_due,
    keep_cooldown,
)

FIRED = pa.schema(
    [
        ("trigger_id", pa.string()),
        ("rule", pa.string()),
        ("rule_kind", pa.string()),
        ("subject_id", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("due_us", pa.int64()),
        ("anchor_us", pa.int64()),
    ]
)
"""One trigger; the id follows from rule, person and due time."""
_RECENT = pa.schema(
    [
        ("subject_id", WORD),
        ("at", pa.int64()),
        ("kind", pa.int8()),
        ("item_id", WORD),
        ("page", WORD),
        ("is_first", pa.bool_()),
        ("partition", pa.int32()),
    ]
)
_LAST = pa.schema([("rule", WORD), ("subject_id", WORD), ("due_us", pa.int64())])
_CLOCKS = pa.schema([("partition", pa.int32()), ("decided_us", pa.int64())])
BEGINNING = -(2**62)
_REMEMBERED_ABSENCES = 4
_UNTIDY = 0.1
"""Share of rows that nobody needs from which those of people who did nothing are looked through."""
Limits = tuple[IntVector, IntVector]
"""By Kafka partition, up to where its events were decided before and are decided now."""


@dataclass(frozen=True)
class TriggerShard:
    """State: recent events, the last trigger by rule and person, and up to when each Kafka partition is decided."""

    recent: pa.Table
    last: pa.Table
    clocks: pa.Table

    @classmethod
    def empty(cls) -> "TriggerShard":
        """Return the state before the first event."""
        return cls(_RECENT.empty_table(), _LAST.empty_table(), _CLOCKS.empty_table())


class TriggerChange(NamedTuple):
    """Outcome of one batch: new state, what fired (`FIRED`), and by event time when something undecided can be due."""

    shard: TriggerShard
    fired: pa.Table
    next_us: int | None


def advance_triggers(
    shard: TriggerShard, arriving: pa.Table, rules: Sequence[Rule], *, delay_us: int, floor_us: int = BEGINNING
) -> TriggerChange:
    """Take a batch's events and decide what has become due.

    Parameters
    ----------
    arriving
        Columns of `session_shards.ARRIVING`, any order, repeated deliveries included.
    delay_us
        The clock of a partition is the latest event time in it, not later than its receipt, less this delay.
    floor_us
        No partition's clock stands before this: for one that has fallen silent.
    """
    clocks, limits = _advance_clocks(shard.clocks, arriving, delay_us, floor_us)
    arrived = _as_rows(arriving)
    (known, here, last_people), names = encode(
        shard.recent["subject_id"], arrived["subject_id"], shard.last["subject_id"]
    )
    recent, arrived = (_named(rows, decode(codes, names)) for rows, codes in ((shard.recent, known), (arrived, here)))
    is_awake = _is_awake(recent, known, here, rules, limits)
    people = np.concatenate([known[is_awake], here])
    rows = concatenate(_RECENT, [recent.filter(pa.array(is_awake)), arrived])
    (items,), item_ids = encode(rows["item_id"], in_order=True)
    (pages,), _ = encode(rows["page"], in_order=True)
    events = _as_events(rows, people, items, pages, limits)
    kept = distinct_rows(events)
    events = events.take(kept)

    reached = pc.min(clocks["decided_us"]).as_py() or BEGINNING
    last, fired = [], []
    for rule in rules:
        latest = _last_of(rule, shard.last, last_people)
        due = keep_cooldown(rule, find_due(rule, events), latest)
        fired.append(_as_fired(rule, due, names, item_ids))
        still = [(who, at) for who, at in latest.items() if at > reached - rule.cooldown]
        last.append(_as_last(rule, still, names))
    asleep = _tidy(recent.filter(pa.array(~is_awake)), rules, limits)
    is_recent = still_needed(events, rules, decided=reached)
    remembered = concatenate(_RECENT, [asleep, _forget(rows.take(pa.array(kept)), events, is_recent, rules)])
    state = TriggerShard(remembered, concatenate(_LAST, last), clocks)
    next_us = first_due(remembered["at"].to_numpy(), limits[1][remembered["partition"].to_numpy()], rules)
    return TriggerChange(state, concatenate(FIRED, fired), next_us)


def trigger_id(rule: str, subject_id: str, due_us: int) -> str:
    """Return the id that a replay of the same events reproduces."""
    return hashlib.blake2b(f"{rule}:{subject_id}:{due_us}".encode(), digest_size=16).hexdigest()


def _as_rows(arriving: pa.Table) -> pa.Table:
    """Return one row per item of each event, one for an event without items; without consent only that it was."""
    allowed = pc.fill_null(arriving["may_trigger"], False).to_numpy()
    kinds = np.array([KINDS.get(name, OTHER) for name in arriving["event_type"].to_pylist()], np.int8)
    kinds = np.where(allowed, kinds, WITHDRAWAL).astype(np.int8)
    lists = pc.if_else(
        pa.array(allowed), arriving["item_ids"].combine_chunks(), pa.nulls(len(arriving), pa.list_(pa.string()))
    )
    with_items = pc.list_parent_indices(lists).to_numpy()
    without = np.setdiff1d(np.arange(len(arriving)), with_items)
    event = np.concatenate([with_items, without]).astype(np.int64)
    is_first = np.ones(len(event), bool)
    is_first[1 : len(with_items)] = np.diff(with_items) != 0
    pages = pc.if_else(pa.array(allowed), arriving["page_path"].combine_chunks(), pa.nulls(len(arriving), pa.string()))
    named = pa.concat_arrays([pc.list_flatten(lists), pa.nulls(len(without), pa.string())])
    taken = arriving.select(["subject_id", "event_us", "partition"]).take(pa.array(event))
    columns = [
        taken["subject_id"], taken["event_us"], pa.array(kinds[event]), named, pages.take(pa.array(event)),
        pa.array(is_first), taken["partition"],
    ]  # fmt: skip
    return pa.table(columns, names=_RECENT.names)


def _named(rows: pa.Table, people: pa.Array) -> pa.Table:
    return rows.set_column(0, _RECENT.field("subject_id"), people)


def _is_awake(
    recent: pa.Table, people: IntVector, here: IntVector, rules: Sequence[Rule], limits: Limits
) -> BoolVector:
    """Return which remembered rows are of people who did something now (`here`), or of whom anything can be due now."""
    at, (lower, upper) = recent["at"].to_numpy(), (limit[recent["partition"].to_numpy()] for limit in limits)
    asked = [people[(at + wait > lower) & (at + wait <= upper)] for wait in waits(rules)]
    return np.isin(people, np.concatenate([here, *asked]))


def _as_events(rows: pa.Table, people: IntVector, items: IntVector, pages: IntVector, limits: Limits) -> Events:
    lower, upper = (limit[rows["partition"].to_numpy()] for limit in limits)
    return Events(
        subject=people,
        at=rows["at"].to_numpy(),
        kind=rows["kind"].to_numpy().astype(np.int64),
        item=items,
        page=pages,
        is_first=pc.cast(rows["is_first"], pa.int8()).to_numpy() > 0,
        lower=lower,
        upper=upper,
    )


def _advance_clocks(clocks: pa.Table, arriving: pa.Table, delay_us: int, floor_us: int) -> tuple[pa.Table, Limits]:
    """Return the clocks after the batch, and by partition up to where decided before and now."""
    known, partitions = clocks["partition"].to_numpy(), arriving["partition"].to_numpy()
    size = int(max(known.max(initial=-1), partitions.max(initial=-1))) + 1
    lower = np.full(size, BEGINNING)
    lower[known] = clocks["decided_us"].to_numpy()
    upper = np.maximum(lower, floor_us)
    reached = np.minimum(arriving["event_us"].to_numpy(), arriving["received_us"].to_numpy()) - delay_us
    np.maximum.at(upper, partitions, reached)
    there = np.union1d(known, partitions)
    table = pa.table([pa.array(there, pa.int32()), pa.array(upper[there], pa.int64())], schema=_CLOCKS)
    return table, (lower, upper)


def _tidy(rows: pa.Table, rules: Sequence[Rule], limits: Limits) -> pa.Table:
    """Forget what rows of people who did nothing need no more, once it is a good part of them: that is cheaper than often."""
    nothing = np.full(len(rows), -1)
    events = _as_events(rows, nothing, nothing, nothing, limits)
    is_recent = is_within_horizon(events, rules)
    if np.count_nonzero(~is_recent & (events.kind != SEEN)) <= _UNTIDY * len(rows):
        return rows
    (people,), _ = encode(rows["subject_id"])
    return _forget(rows, replace(events, subject=people), is_recent, rules)


def _forget(rows: pa.Table, events: Events, is_recent: BoolVector, rules: Sequence[Rule]) -> pa.Table:
    """Keep what is recent; of the rest only the last time each person was there, for returns."""
    recent = rows.filter(pa.array(is_recent))
    absences = [rule.absence for rule in rules if isinstance(rule, ReturnAfterAbsence)]
    if not absences:
        return recent
    is_old = ~is_recent & (events.at > events.upper - _REMEMBERED_ABSENCES * max(absences))
    order = np.flatnonzero(is_old)[np.lexsort((events.at[is_old], events.subject[is_old]))]
    is_last = np.ones(len(order), bool)
    is_last[:-1] = np.diff(events.subject[order]) != 0
    order = order[is_last & (events.kind[order] != WITHDRAWAL)]
    seen = rows.take(pa.array(order)).select(["subject_id", "at", "partition"])
    size = len(seen)
    nothing = pa.nulls(size, WORD)
    columns = [
        seen["subject_id"], seen["at"], pa.array(np.full(size, SEEN, np.int8)), nothing, nothing,
        pa.array(np.ones(size, bool)), seen["partition"],
    ]  # fmt: skip
    return concatenate(_RECENT, [recent, pa.table(columns, schema=_RECENT)])


def _last_of(rule: Rule, last: pa.Table, people: IntVector) -> dict[int, int]:
    is_ours = pc.equal(last["rule"], rule.name).to_numpy()
    return dict(zip(people[is_ours].tolist(), last["due_us"].to_numpy()[is_ours].tolist(), strict=True))


def _as_last(rule: Rule, last: Sequence[tuple[int, int]], names: pa.Array) -> pa.Table:
    codes = np.array([who for who, _ in last], np.int64)
    rules = pa.repeat(rule.name, len(last)).dictionary_encode()
    columns = [rules, decode(codes, names), pa.array([at for _, at in last], pa.int64())]
    return pa.table(columns, schema=_LAST)


def _as_fired(rule: Rule, due: Sequence[Due], names: pa.Array, item_ids: pa.Array) -> pa.Table:
    people = decode(np.array([one.subject for one in due], np.int64), names)
    rows = [
        {
            "trigger_id": trigger_id(rule.name, person, one.due),
            "rule": rule.name,
            "rule_kind": kind_of(rule),
            "subject_id": person,
            "item_ids": [item_ids[item].as_py() for item in one.items],
            "due_us": one.due,
            "anchor_us": one.anchor,
        }
        for person, one in zip(people.to_pylist(), due, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=FIRED)
