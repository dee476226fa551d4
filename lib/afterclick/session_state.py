"""State of a shard of people: its open sessions as Arrow tables, the parts of it that a batch looks at, and arrays of rules.

Layout and why: docs/decisions/0002-session-state.md and 0068-words-as-codes.md.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from afterclick.arrow_state import WORD, IntVector, decode
from afterclick.session_rules import FIRSTS, SUMS, BoolVector, Mentions, Sessions

_FLOATS = ("cart_value", "order_value", "estimated_event_count", "scroll_percent")
OPEN = pa.schema(
    [("subject_id", WORD), ("started", pa.int64()), ("ended", pa.int64())]
    + [(name, pa.float64() if name in _FLOATS else pa.int64()) for name in (*SUMS, "scroll_percent")]
    + [field for name in FIRSTS for field in ((name, WORD), (f"{name}_at", pa.int64()))]
)
"""Open sessions; codes of `FIRSTS` have meaning beside their column's dictionary only."""
SEEN = pa.schema([("event_key", pa.int64()), ("event_us", pa.int64())])
"""Ids of events that may come again."""
MENTIONS = pa.schema([("row", pa.int32()), ("item", pa.int64()), ("at", pa.int64())])
"""Items named in open sessions: the first row of the person in `OPEN`, the item's key, and when first."""


@dataclass(frozen=True)
class Shard:
    """State: open sessions, their items (by the row of a session of the person), and ids of recent events."""

    open: pa.Table
    mentions: pa.Table
    seen: pa.Table

    @classmethod
    def empty(cls) -> "Shard":
        """Return the state before the first event."""
        return cls(OPEN.empty_table(), MENTIONS.empty_table(), SEEN.empty_table())


def part_of(shard: Shard, chosen: BoolVector, subjects: pa.Array) -> Shard:
    """Return chosen open sessions and what they name, `subjects` in place of `subject_id`; all or none of a person's."""
    rows = shard.mentions["row"].to_numpy()
    place = np.cumsum(chosen) - 1
    mentions = shard.mentions.set_column(0, MENTIONS.field("row"), pa.array(place[rows], pa.int32()))
    opened = shard.open.set_column(0, OPEN.field("subject_id"), subjects).filter(pa.array(chosen))
    return Shard(opened, mentions.filter(pa.array(chosen[rows])), shard.seen)


def as_sessions(table: pa.Table, codes: IntVector, words: dict[str, IntVector]) -> Sessions:
    """Return rows of `OPEN` for `session_rules`, with the codes of people and of words beside them."""
    columns: dict[str, Any] = {n: words[n] if n in words else table[n].to_numpy() for n in OPEN.names[1:]}
    return Sessions(subject=codes, **columns)


def as_table(sessions: Sessions, dictionaries: dict[str, pa.Array]) -> pa.Table:
    """Return sessions as rows of `OPEN`; a dictionary for `subject_id` and each of `FIRSTS`."""
    columns: list[Any] = []
    for field in OPEN:
        values = getattr(sessions, "subject" if field.name == "subject_id" else field.name)
        is_word = field.name in dictionaries
        columns.append(decode(values, dictionaries[field.name]) if is_word else pa.array(values, field.type))
    return pa.table(columns, schema=OPEN)


def keep_mentions(mentions: Mentions, opened: Sessions, *, first_row: int) -> pa.Table:
    """Name each mention's person by the first row of theirs: 4 bytes instead of a pseudonym; `opened` begin at `first_row`."""
    people, first = np.unique(opened.subject, return_index=True)
    rows = first[np.searchsorted(people, mentions.subject)] if len(people) else mentions.subject
    columns = [pa.array(rows + first_row, pa.int32()), pa.array(mentions.item), pa.array(mentions.at)]
    return pa.table(columns, schema=MENTIONS)
