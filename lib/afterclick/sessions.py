"""Events -> sessions and triggers: `session_shards` and `triggers` in one stateful Spark operator.

The state of a shard of subjects is a few Arrow blobs, not one state per person: 9-25 times the events per
second of per-person Python state (docs/decisions/0002-session-state.md).
"""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.streaming.state import GroupState, GroupStateTimeout

from afterclick.arrow_state import read, spelled_schema, state_tables, write
from afterclick.consent_filter import has_consent
from afterclick.load_shedding import bound_hot_subjects
from afterclick.schemas_sessions import SESSION_CHANGE, SHARD_STATE
from afterclick.session_shards import ARRIVING, Cutting, ShardChange, advance_shard, session_rows
from afterclick.session_state import Shard
from afterclick.setting_sections import LoadSettings
from afterclick.settings import Settings
from afterclick.shard_keys import EVEN, shard_key
from afterclick.trigger_file import running_rules
from afterclick.triggers import TriggerShard, advance_triggers
from afterclick.vocabulary import Purpose

_WATERMARK_DELAY_KEY = "spark.watermarkDelayMs"  # org.apache.spark.sql.catalyst.plans.logical.EventTimeWatermark
_CHANGE = to_arrow_schema(SESSION_CHANGE, timezone="UTC")
CLOSED, OPEN, LATE, TRIGGER, HOT_PERSON = "closed", "open", "late", "trigger", "hot"
"""Kinds of rows of `schemas_sessions.SESSION_CHANGE`."""
_OF_LATE = ("session_id", "subject_id", "event_id", "event_type", "event_us", "received_us", "sample_rate")


class Operator(NamedTuple):
    """What the operator needs to know: the same for every shard and batch."""

    cutting: Cutting
    watermark_minutes: int
    shards: int
    trigger_delay_us: int
    rules_path: str | None
    load: LoadSettings = LoadSettings()


def read_operator(settings: Settings) -> Operator:
    """Return the operator of the settings."""
    sessions, triggers = settings.sessions, settings.triggers
    cutting = Cutting(round(sessions.gap_minutes * 6e7), sessions.close_on_order, sessions.item_limit)
    delay_us = round(triggers.delay_seconds * 1e6)
    return Operator(
        cutting, settings.streams.watermark_minutes, sessions.shards, delay_us, triggers.rules, settings.load
    )


def state_layout() -> str:
    """Return a digest of the operator's state, its tables and keys: a checkpoint of another one cannot be read."""
    tables = [*state_tables(Shard.empty()), *state_tables(TriggerShard.empty())]
    told = [f"keys of shards by {EVEN}", *[str(spelled_schema(table.schema)) for table in tables]]
    return hashlib.sha256("\n\n".join(told).encode()).hexdigest()[:12]


def sessionize(events: DataFrame, operator: Operator) -> DataFrame:
    """Return rows of `schemas_sessions.SESSION_CHANGE`: closed and open sessions, late events, triggers.

    Parameters
    ----------
    events
        Streaming rows with the columns of `schemas.EVENT`; repeated `event_id` are dropped while the watermark
        is less than the gap past them.

    Notes
    -----
    Spark drops rows whose watermark column is behind the watermark before the operator sees them, without a trace.
    So the operator gets a watermark column that is always null, which it demands but which drops nothing; the
    watermark itself still follows `event_at`.
    """
    delay = operator.watermark_minutes
    clock = F.lit(None).cast("timestamp").alias("_clock", metadata={_WATERMARK_DELAY_KEY: delay * 60_000})
    shard = shard_key(events.sparkSession, "subject_id", operator.shards).alias("shard")
    arriving = select_arriving(events.withWatermark("event_at", f"{delay} minutes"), shard, clock)

    def update(_: Any, chunks: Iterator[pd.DataFrame], state: GroupState) -> Iterator[pd.DataFrame]:
        return _update_state(chunks, state, operator)

    timeout = GroupStateTimeout.EventTimeTimeout
    return arriving.groupBy("shard").applyInPandasWithState(update, SESSION_CHANGE, SHARD_STATE, "append", timeout)


def select_arriving(events: DataFrame, *more: Column) -> DataFrame:
    """Return the columns of `session_shards.ARRIVING` and `more` for rows of `schemas.EVENT`, sampled or not."""
    columns = {
        "event_key": F.xxhash64("event_id"),
        "event_us": F.unix_micros("event_at"),
        "received_us": F.unix_micros("received_at"),
        "value": items_value(),
        "item_ids": F.col("items.item_id"),
        "may_trigger": has_consent(Purpose.PERSONALISATION),
        "partition": F.coalesce("kafka_partition", F.lit(0)),
        "sample_rate": F.col("sample_rate") if "sample_rate" in events.columns else F.lit(1.0),
    }
    return events.select(*more, *[columns.get(name, F.col(name)).alias(name) for name in ARRIVING.names])


def items_value() -> Column:
    """Sum of quantity times price of an event's items; a quantity not said is 1, a price not said is 0."""

    def add(sum_so_far: Column, item: Column) -> Column:
        return sum_so_far + F.coalesce(item["quantity"], F.lit(1)) * F.coalesce(item["price"], F.lit(0.0))

    return F.aggregate("items", F.lit(0.0), add)


def _update_state(chunks: Iterator[pd.DataFrame], state: GroupState, operator: Operator) -> Iterator[pd.DataFrame]:
    """Take all chunks of a shard at once, advance, and come back when the earliest session or trigger is due."""
    frames = [chunk[ARRIVING.names] for chunk in chunks if len(chunk)]
    tables = [pa.Table.from_pandas(frame, schema=ARRIVING, preserve_index=False) for frame in frames]
    bounded = bound_hot_subjects(pa.concat_tables(tables) if tables else ARRIVING.empty_table(), operator.load)
    watermark_us = state.getCurrentWatermarkMs() * 1000
    stored = state.get if state.exists else None
    shard = Shard(*map(read, stored[:3])) if stored else Shard.empty()
    trigger_shard = TriggerShard(*map(read, stored[3:6])) if stored else TriggerShard.empty()
    change = advance_shard(shard, bounded.kept, operator.cutting, watermark_us=watermark_us)
    running = running_rules(operator.rules_path, stored[6] if stored else "")
    told = advance_triggers(
        trigger_shard, change.fresh, running.rules, delay_us=operator.trigger_delay_us,
        floor_us=watermark_us - operator.trigger_delay_us,
    )  # fmt: skip
    state.update((*_blobs(change.shard), *_blobs(told.shard), running.text))
    due = [pc.min(change.shard.open["ended"]).as_py() + operator.cutting.gap_us] if len(change.shard.open) else []
    if told.next_us is not None:
        due.append(told.next_us + operator.trigger_delay_us)
    if due:
        state.setTimeoutTimestamp(max(min(due), watermark_us) // 1000 + 1)
    changes = [*_session_changes(change, watermark_us)]
    changes.append(_as_change(bounded.hot, HOT_PERSON, rate="sample_rate"))
    changes.append(_as_change(told.fired, TRIGGER, due_us="due_at", anchor_us="anchor_at"))
    if len(rows := pa.concat_tables(changes)):
        yield rows.to_pandas()


def _blobs(shard: Shard | TriggerShard) -> list[bytes]:
    return [write(table) for table in state_tables(shard)]


def _session_changes(change: ShardChange, watermark_us: int) -> Iterator[pa.Table]:
    for kind, sessions in ((CLOSED, change.closed), (OPEN, change.ongoing)):
        yield _as_change(session_rows(sessions), kind)
    late = change.late.select(_OF_LATE).append_column("watermark_at", pa.repeat(watermark_us, len(change.late)))
    yield _as_change(late, LATE, event_us="event_at", received_us="received_at")


def _as_change(rows: pa.Table, kind: str, **names: str) -> pa.Table:
    """Return rows of `SESSION_CHANGE`; `names` are columns and how they are called there; times may be microseconds."""
    named = rows.rename_columns([names.get(name, name) for name in rows.column_names])
    known = {name: named[name] for name in named.column_names} | {"change": pa.repeat(kind, len(rows))}
    columns = [
        known[field.name].cast(field.type) if field.name in known else pa.nulls(len(rows), field.type)
        for field in _CHANGE
    ]
    return pa.table(columns, schema=_CHANGE)
