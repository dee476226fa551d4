"""Sessions of people with late events or several pseudonyms, cut anew from all their events. numpy and pyarrow only.

`jobs/repair_sessions.py` reads the events and writes what comes out: docs/decisions/0038-session-repair.md.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from afterclick.arrow_state import encode
from afterclick.session_shards import ARRIVING, Cutting, advance_shard
from afterclick.session_state import Shard

REPAIRING = pa.schema([("person", pa.string()), ("is_late", pa.bool_()), *ARRIVING])
"""Events of whole days: `person` is the pseudonym that stands for all of a person's, `is_late` marks what no session has."""

IntVector = npt.NDArray[np.int64]


class Known(NamedTuple):
    """What is known for certain, times in microseconds.

    All events from `begin_us` on are there; what ended more than the gap before `settled_us` has its sessions written.
    """

    begin_us: int
    settled_us: int


class _Runs(NamedTuple):
    """Events of one person with no gap between them: the run of each event, and the first and last time of each run."""

    of_event: IntVector
    started: IntVector
    ended: IntVector


def recut(events: pa.Table, cutting: Cutting, known: Known) -> pa.Table:
    """Return the whole sessions (`session_shards.SESSIONS`) of the runs that hold a late event or two pseudonyms.

    Parameters
    ----------
    events
        Columns of `REPAIRING`, any order, repeated deliveries included: the first one received counts.

    Notes
    -----
    A run with an event under `person` itself is all theirs; one without keeps the pseudonyms of its events. Runs that may
    still change, or began before what was read, are left for a later repair.
    """
    fresh = _first_deliveries(events)
    at = fresh["event_us"].to_numpy()
    people = _runs(fresh["person"], at, cutting.gap_us)
    is_known = pc.equal(fresh["subject_id"], fresh["person"]).to_numpy()
    holds_known = np.bincount(people.of_event, is_known, len(people.started)) > 0
    whose = pc.if_else(pa.array(holds_known[people.of_event]), fresh["person"], fresh["subject_id"])
    runs = _runs(whose, at, cutting.gap_us)
    is_moved = pc.not_equal(whose, fresh["subject_id"]).to_numpy()
    marks = fresh["is_late"].to_numpy() | is_moved
    is_settled = (runs.started - cutting.gap_us >= known.begin_us) & (runs.ended + cutting.gap_us < known.settled_us)
    is_chosen = is_settled & (np.bincount(runs.of_event, marks, len(runs.started)) > 0)
    renamed = fresh.select(ARRIVING.names).set_column(0, ARRIVING.field("subject_id"), whose)
    return _cut(renamed.filter(pa.array(is_chosen[runs.of_event])), cutting)


def _first_deliveries(events: pa.Table) -> pa.Table:
    ordered = events.take(np.lexsort((events["event_key"].to_numpy(), events["received_us"].to_numpy())))
    _, first = np.unique(ordered["event_key"].to_numpy(), return_index=True)
    return ordered.take(np.sort(first))


def _runs(names: pa.ChunkedArray, at: IntVector, gap: int) -> _Runs:
    (codes,), _ = encode(names)
    order = np.lexsort((at, codes))
    is_head = np.ones(len(order), bool)
    is_head[1:] = (np.diff(codes[order]) != 0) | (np.diff(at[order]) > gap)
    of_event = np.empty(len(order), np.int64)
    of_event[order] = np.cumsum(is_head) - 1
    heads = np.flatnonzero(is_head)
    tails = np.append(heads[1:], len(order))[: len(heads)] - 1
    return _Runs(of_event, at[order[heads]], at[order[tails]])


def _cut(events: pa.Table, cutting: Cutting) -> pa.Table:
    """Cut with the operator of the stream, as `afterclick sessionize` does."""
    opened = advance_shard(Shard.empty(), events, cutting, watermark_us=0)
    end_of_time = int(np.iinfo(np.int64).max)
    return advance_shard(opened.shard, ARRIVING.empty_table(), cutting, watermark_us=end_of_time).closed
