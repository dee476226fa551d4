"""What trigger rules would have fired on recorded events: the rules of the stream over the whole interval at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.session_shards import ARRIVING
from afterclick.sessions import select_arriving
from afterclick.trigger_file import read_rules
from afterclick.trigger_memory import horizons
from afterclick.trigger_rules import ReturnAfterAbsence, Rule
from afterclick.triggers import FIRED, TriggerShard, advance_triggers

_FIRED_DDL = (
    "trigger_id string, rule string, rule_kind string, subject_id string, item_ids array<string>, due_us bigint, "
    "anchor_us bigint"
)


@dataclass(frozen=True)
class Interval:
    """Triggers due after `begin` and up to `end`, both aware."""

    begin: datetime
    end: datetime

    @property
    def begin_us(self) -> int:
        """Microseconds since the epoch."""
        return round(self.begin.timestamp() * 1e6)

    @property
    def end_us(self) -> int:
        """Microseconds since the epoch."""
        return round(self.end.timestamp() * 1e6)


def replay_rules(events: DataFrame, text: str, source: str, interval: Interval) -> pa.Table:
    """Return what the rules of a file fire in an interval, `triggers.FIRED`.

    Parameters
    ----------
    events
        Rows with the columns of `schemas.EVENT`, accepted ones, each person's history from before the interval included.

    Raises
    ------
    TriggerRulesError
        If the rules have a mistake.

    Notes
    -----
    Equal to what the stream fires with the same rules, where no event came later than ``triggers.delay_seconds`` after
    the newest of its partition: for such an event the stream may have decided before it came.
    """
    rules = read_rules(text, source)
    before = timedelta(microseconds=_memory(rules))
    needed = events.where((F.col("event_at") > interval.begin - before) & (F.col("event_at") <= interval.end))
    end_us, begin_us = interval.end_us, interval.begin_us

    def fire(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        collected = list(batches)  # all of a person's events at once
        if collected:
            arriving = pa.Table.from_batches(collected).cast(ARRIVING)
            parsed = read_rules(text, source)
            change = advance_triggers(TriggerShard.empty(), arriving, parsed, delay_us=0, floor_us=end_us)
            yield from change.fired.filter(pc.greater(change.fired["due_us"], begin_us)).to_batches()

    fired = select_arriving(needed).repartition("subject_id").mapInArrow(fire, _FIRED_DDL)
    return fired.toArrow().cast(FIRED)  # at most a trigger per rule and event


def _memory(rules: Sequence[Rule]) -> int:
    """Return how far before the interval an event can matter, in microseconds."""
    cooldown = max((rule.cooldown for rule in rules), default=0)
    absence = max((rule.absence for rule in rules if isinstance(rule, ReturnAfterAbsence)), default=0)
    return cooldown + max(int(horizons(rules).max()), 4 * absence) + 1


def lateness_seconds(events: DataFrame, due_us: Any, interval: Interval, *, delay_seconds: float) -> dict[str, float]:
    """Return median and 95th percentile of how long after its time each trigger could have been decided.

    Notes
    -----
    That is when the events' own clock had passed it by the delay; the stream's batch comes on top.
    """
    clock = F.least(F.unix_micros("event_at"), F.unix_micros("received_at"))
    seconds = F.floor(F.unix_micros("received_at") / 1_000_000).alias("second")
    near = events.where(F.col("event_at") > interval.begin).groupBy(seconds).agg(F.max(clock).alias("clock"))
    ticks = near.orderBy("second").toArrow()  # one row per second of the interval
    if len(due_us) == 0 or len(ticks) == 0:
        return {}
    reached = np.maximum.accumulate(ticks["clock"].to_numpy())
    place = np.searchsorted(reached, np.asarray(due_us) + round(delay_seconds * 1e6))
    is_known = place < len(reached)
    late = ticks["second"].to_numpy()[place[is_known]] + 1 - np.asarray(due_us)[is_known] / 1e6
    return (
        {"median": round(float(np.median(late)), 3), "p95": round(float(np.quantile(late, 0.95)), 3)}
        if len(late)
        else {}
    )


def compare(fired: pa.Table, today: pa.Table) -> dict[str, Any]:
    """Return counts of what rules fire, and the difference to today's rules by trigger id."""
    ours, theirs = set(fired["trigger_id"].to_pylist()), set(today["trigger_id"].to_pylist())
    by_rule = {row["values"]: row["counts"] for row in pc.value_counts(fired["rule"].combine_chunks()).to_pylist()}
    return {
        "fired": len(fired),
        "people": pc.count_distinct(fired["subject_id"]).as_py(),
        "by_rule": by_rule,
        "today": len(today),
        "only_with_these_rules": len(ours - theirs),
        "only_with_todays_rules": len(theirs - ours),
    }
