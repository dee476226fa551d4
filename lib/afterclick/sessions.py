"""Events -> sessions: `session_rules` in a stateful Spark operator, and the same operator over a table.

The state of a shard of subjects is one Arrow blob of its open sessions and one of recent event ids,
not one state per person: 9-25 times the events per second of per-person Python state
(docs/decisions/0002-session-state.md).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.state import GroupState, GroupStateTimeout

from afterclick.schemas import SESSION_CHANGE, SHARD_STATE
from afterclick.session_rules import IntVector, Sessions, advance

ARRIVING = pa.schema(
    [
        ("subject_id", pa.string()),
        ("event_key", pa.int64()),
        ("event_id", pa.string()),
        ("event_type", pa.string()),
        ("event_us", pa.int64()),
        ("received_us", pa.int64()),
        ("order_value", pa.float64()),
    ]
)
"""Events as the operator takes them; `event_key` is a hash of `event_id`, times in microseconds."""

_WATERMARK_DELAY_KEY = "spark.watermarkDelayMs"  # org.apache.spark.sql.catalyst.plans.logical.EventTimeWatermark
_COUNTS = ("event_count", "view_count", "cart_count", "purchase_count")
_OPEN = pa.schema(
    [("subject_id", pa.string()), ("started", pa.int64()), ("ended", pa.int64())]
    + [(name, pa.int64()) for name in _COUNTS]
    + [("order_value", pa.float64())]
)
_SEEN = pa.schema([("event_key", pa.int64()), ("event_us", pa.int64())])


@dataclass(frozen=True)
class Shard:
    """State of one shard: open sessions, and the ids of events that could still be delivered again."""

    open: pa.Table
    seen: pa.Table

    @classmethod
    def empty(cls) -> "Shard":
        """Return the state before the first event."""
        return cls(_OPEN.empty_table(), _SEEN.empty_table())


class ShardChange(NamedTuple):
    """Outcome of one batch: new state, closed sessions (`_OPEN` columns), late events (`ARRIVING` columns)."""

    shard: Shard
    closed: pa.Table
    late: pa.Table


def sessionize(events: DataFrame, *, gap_seconds: float, watermark_minutes: int, shards: int) -> DataFrame:
    """Return rows of `schemas.SESSION_CHANGE`: closed sessions and late events.

    Parameters
    ----------
    events
        Streaming rows with the columns of `schemas.EVENT`; repeated `event_id` are dropped while the watermark
        is less than `gap_seconds` past them.
    shards
        Number of state groups; fixed for a checkpoint's life.

    Notes
    -----
    Spark drops rows whose watermark column is behind the watermark before the operator sees them, without a trace.
    So the operator gets a watermark column that is always null, which it demands but which drops nothing; the
    watermark itself still follows `event_at`.
    """
    shard = F.pmod(F.xxhash64("subject_id"), F.lit(shards)).cast("int")
    arriving = events.withWatermark("event_at", f"{watermark_minutes} minutes").select(
        shard.alias("shard"),
        "subject_id",
        F.xxhash64("event_id").alias("event_key"),
        "event_id",
        "event_type",
        F.unix_micros("event_at").alias("event_us"),
        F.unix_micros("received_at").alias("received_us"),
        order_value().alias("order_value"),
        F.lit(None).cast("timestamp").alias("_clock", metadata={_WATERMARK_DELAY_KEY: watermark_minutes * 60_000}),
    )
    gap_us = round(gap_seconds * 1e6)

    def update(_: Any, chunks: Iterator[pd.DataFrame], state: GroupState) -> Iterator[pd.DataFrame]:
        return _update_state(chunks, state, gap_us)

    timeout = GroupStateTimeout.EventTimeTimeout
    return arriving.groupBy("shard").applyInPandasWithState(update, SESSION_CHANGE, SHARD_STATE, "append", timeout)


def order_value() -> Column:
    """Sum of quantity times price of a purchase's items; a quantity not said is 1, a price not said is 0."""
    line = F.transform(
        "items", lambda item: F.coalesce(item["quantity"], F.lit(1)) * F.coalesce(item["price"], F.lit(0.0))
    )
    total = F.aggregate(line, F.lit(0.0), lambda sum_so_far, value: sum_so_far + value)
    return F.when(F.col("event_type") == "purchase", F.coalesce(total, F.lit(0.0))).otherwise(F.lit(0.0))


def advance_shard(shard: Shard, arriving: pa.Table, *, gap_us: int, watermark_us: int) -> ShardChange:
    """Apply `session_rules.advance` to a shard: the operator of the stream and of `afterclick sessionize`.

    Parameters
    ----------
    arriving
        Columns of `ARRIVING`, any order, repeated deliveries included.
    """
    fresh = _drop_repeated(arriving, shard.seen)
    names = pa.chunked_array([*shard.open["subject_id"].chunks, *fresh["subject_id"].chunks], pa.string())
    encoded = names.combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    known = len(shard.open)
    change = advance(
        _as_sessions(shard.open, codes[:known]),
        _events_as_sessions(fresh, codes[known:]),
        gap=gap_us,
        watermark=watermark_us,
    )
    seen = pa.concat_tables([shard.seen, fresh.select(_SEEN.names)])
    still_needed = pc.greater_equal(seen["event_us"], watermark_us - gap_us)
    return ShardChange(
        Shard(_as_table(change.open, encoded.dictionary), seen.filter(still_needed).combine_chunks()),
        _as_table(change.closed, encoded.dictionary),
        fresh.filter(pa.array(change.is_late)),
    )


def closed_frame(closed: pa.Table) -> pd.DataFrame:
    """Return closed sessions as rows of `schemas.SESSION`."""
    frame = closed.rename_columns({"started": "started_at", "ended": "ended_at"}).to_pandas()
    ids = [session_id(s, t) for s, t in zip(frame["subject_id"], frame["started_at"], strict=True)]
    frame.insert(0, "session_id", pd.Series(ids, dtype=object))
    for name in ("started_at", "ended_at"):
        frame[name] = pd.to_datetime(frame[name], unit="us")
    return frame


def session_id(subject_id: str, started_us: int) -> str:
    """Return the id that every replay gives a session: 128 bits of BLAKE2b over subject and start."""
    return hashlib.blake2b(f"{subject_id}:{started_us}".encode(), digest_size=16).hexdigest()


def _update_state(chunks: Iterator[pd.DataFrame], state: GroupState, gap_us: int) -> Iterator[pd.DataFrame]:
    """Take all chunks of a group (Spark cuts large ones), advance the shard, set the next deadline."""
    frames = [] if state.hasTimedOut else list(chunks)
    tables = [pa.Table.from_pandas(frame[ARRIVING.names], ARRIVING, preserve_index=False) for frame in frames]
    arriving = pa.concat_tables(tables) if tables else ARRIVING.empty_table()
    watermark_us = state.getCurrentWatermarkMs() * 1000
    shard = Shard(*map(_read, state.get)) if state.exists else Shard.empty()
    change = advance_shard(shard, arriving, gap_us=gap_us, watermark_us=watermark_us)
    state.update((_write(change.shard.open), _write(change.shard.seen)))
    if len(change.shard.open):
        earliest = pc.min(change.shard.open["ended"]).as_py() + gap_us
        state.setTimeoutTimestamp(max(earliest, watermark_us) // 1000 + 1)
    yield from _change_frames(change, watermark_us)


def _change_frames(change: ShardChange, watermark_us: int) -> Iterator[pd.DataFrame]:
    if len(change.closed):
        yield closed_frame(change.closed).assign(is_late=False).reindex(columns=SESSION_CHANGE.names)
    if len(change.late):
        late = change.late.select(["subject_id", "event_id", "event_type", "event_us", "received_us"]).to_pandas()
        times = {"event_us": "event_at", "received_us": "received_at"}
        late = late.rename(columns=times).assign(watermark_at=watermark_us, is_late=True)
        for name in ("event_at", "received_at", "watermark_at"):
            late[name] = pd.to_datetime(late[name], unit="us")
        yield late.reindex(columns=SESSION_CHANGE.names)


def _drop_repeated(arriving: pa.Table, seen: pa.Table) -> pa.Table:
    """Keep the first delivery of each event."""
    keys = arriving["event_key"].to_numpy()
    _, first = np.unique(keys, return_index=True)
    is_first = np.zeros(len(keys), bool)
    is_first[first] = True
    return arriving.filter(pa.array(is_first & ~np.isin(keys, seen["event_key"].to_numpy())))


def _events_as_sessions(events: pa.Table, codes: IntVector) -> Sessions:
    at = events["event_us"].to_numpy()
    ones = np.ones(len(at), np.int64)
    views, carts, purchases = (
        pc.equal(events["event_type"], kind).to_numpy().astype(np.int64) for kind in ("view", "cart", "purchase")
    )
    return Sessions(codes, at, at, ones, views, carts, purchases, events["order_value"].to_numpy())


def _as_sessions(table: pa.Table, codes: IntVector) -> Sessions:
    return Sessions(codes, *[table[name].to_numpy() for name in _OPEN.names[1:]])


def _as_table(sessions: Sessions, dictionary: pa.Array) -> pa.Table:
    columns = [dictionary.take(pa.array(sessions.subject)), sessions.started, sessions.ended]
    columns += [getattr(sessions, name) for name in (*_COUNTS, "order_value")]
    return pa.table([pa.array(column) for column in columns], schema=_OPEN)


def _write(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _read(blob: bytes) -> pa.Table:
    return pa.ipc.open_stream(blob).read_all()
