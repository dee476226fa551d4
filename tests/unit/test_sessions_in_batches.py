"""Sessions of several people cut batch by batch are those cut at once, whoever does nothing in between."""

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from afterclick.arrow_state import read, state_tables, write
from afterclick.session_shards import ARRIVING, Cutting, ShardChange, advance_shard
from afterclick.session_state import Shard

GAP, DELAY, END = 30, 10, 2**62
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ada", "bob", "eve"]),
        st.integers(0, 200),
        st.sampled_from(["view", "cart", "purchase"]),
        st.lists(st.sampled_from("abcd"), max_size=3),
        st.sampled_from(["/home", "/sale", None]),
        st.integers(0, DELAY),
    ),
    max_size=40,
)
"""Who, when, what, items, page, and how much later it may arrive than others."""


def as_arriving(events: list[tuple[Any, ...]]) -> pa.Table:
    """Return events in the order in which they arrive: none is later than `DELAY` behind one before it."""
    rows = [
        {"subject_id": who, "event_key": key, "event_id": str(key), "event_type": kind, "event_us": at,
         "received_us": at, "item_ids": items, "page_path": page, "value": 1.0}
        for key, (who, at, kind, items, page, _) in enumerate(sorted(events, key=lambda event: event[1] + event[5]))
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=ARRIVING)


def advanced(shard: Shard, rows: pa.Table, cutting: Cutting, watermark: int) -> ShardChange:
    """Advance with a state that went through bytes."""
    return advance_shard(
        Shard(*[read(write(table)) for table in state_tables(shard)]), rows, cutting, watermark_us=watermark
    )


def in_order(tables: list[pa.Table]) -> list[dict[str, Any]]:
    rows = [row for table in tables for row in table.to_pylist()]
    return sorted(rows, key=lambda row: (row["subject_id"], row["started"]))


@given(events=EVENTS, ends=st.lists(st.integers(0, 40), max_size=8), close_on_order=st.booleans())
def test_sessions_cut_in_any_batches_are_those_cut_at_once(
    events: list[tuple[Any, ...]], ends: list[int], close_on_order: bool
) -> None:
    cutting = Cutting(GAP, close_on_order)
    arriving = as_arriving(events)
    shard, closed, watermark, begin = Shard.empty(), [], 0, 0
    for end in [*sorted(min(end, len(arriving)) for end in ends), len(arriving)]:
        change = advanced(shard, arriving.slice(begin, end - begin), cutting, watermark)
        shard, begin = change.shard, end
        closed.append(change.closed)
        assert len(change.late) == 0
        watermark = max([watermark, *[at - DELAY for at in arriving["event_us"].to_pylist()[:end]]])
    closed.append(advanced(shard, ARRIVING.empty_table(), cutting, END).closed)

    whole = advance_shard(Shard.empty(), arriving, cutting, watermark_us=0)
    expected = advance_shard(whole.shard, ARRIVING.empty_table(), cutting, watermark_us=END).closed
    assert in_order(closed) == in_order([expected])
    assert sum(row["event_count"] for row in in_order(closed)) == len(events)


@given(events=EVENTS, watermark=st.integers(0, 300), again=st.lists(st.integers(0, 39), max_size=5))
def test_a_shard_holds_of_somebody_who_does_nothing_what_it_held(
    events: list[tuple[Any, ...]], watermark: int, again: list[int]
) -> None:
    cutting = Cutting(GAP, item_limit=2)
    arriving = as_arriving(events)
    zoe = as_arriving([("zoe", 295, "view", ["a", "b", "c"], "/home", 0)])
    zoe = zoe.set_column(1, ARRIVING.field("event_key"), pa.array([1_000]))
    before = advance_shard(Shard.empty(), pa.concat_tables([zoe, arriving]), cutting, watermark_us=0).shard
    repeated = arriving.take(pa.array([n for n in again if n < len(arriving)], pa.int64()))

    after = advanced(before, repeated, cutting, watermark).shard

    of_zoe = [[row for row in shard.open.to_pylist() if row["subject_id"] == "zoe"] for shard in (before, after)]
    assert of_zoe[0] == of_zoe[1]
    assert items_of("zoe", before) == items_of("zoe", after)


def items_of(who: str, shard: Shard) -> list[int]:
    people = shard.open["subject_id"].to_pylist()
    return sorted(row["item"] for row in shard.mentions.to_pylist() if people[row["row"]] == who)
