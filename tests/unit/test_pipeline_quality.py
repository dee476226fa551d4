"""Recorded visits for the pipeline, and the judgement of what was read: against plain models of both."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from afterclick.evaluation import Plan
from afterclick.event_logs import read_events, visible_before
from afterclick.pipeline_quality import Reading, deal, first_visits, judge, offline_ranks, spread_instants
from afterclick.setting_sections import ModelSettings
from afterclick.source_rules import SourceRules

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
WEIGHTS = {"view": 1.0, "purchase": 5.0}
SMALL = ModelSettings(tracking_uri="", artifact_root="", rank=4, iterations=3)  # type: ignore[arg-type]


def log_of(rows: Sequence[tuple[str, str, float]]) -> pa.Table:
    """Return a log of (person, item, minute)."""
    columns: list[list[Any]] = [[row[0] for row in rows], [row[1] for row in rows], ["view"] * len(rows)]
    times = pa.array([BEGIN + timedelta(minutes=row[2]) for row in rows], pa.timestamp("us", "UTC"))
    return pa.table([*map(pa.array, columns), times], ["subject_id", "item_id", "event_type", "event_at"])


def test_events_of_one_instant_are_spread_in_the_logs_order_person_by_person() -> None:
    log = log_of([("ada", "b", 0), ("bob", "x", 0), ("ada", "a", 0), ("ada", "c", 1), ("ada", "d", 0)])

    spread = spread_instants(log)

    moved = [
        (new - old).total_seconds()
        for old, new in zip(*(t["event_at"].to_pylist() for t in (log, spread)), strict=True)
    ]
    assert moved == [0.0, 0.0, 0.001, 0.0, 0.002]


def test_first_visits_end_at_the_first_gap_and_the_earliest_are_taken() -> None:
    rows = [("bob", "x", 5), ("ada", "a", 0), ("ada", "b", 10), ("ada", "c", 41), ("bob", "y", 35), ("cyd", "z", 50)]

    visits = first_visits(log_of(rows), gap_ms=30 * 60_000, events=4)

    assert [visit.tolist() for visit in visits] == [[1, 2], [0, 4]]
    assert [v.tolist() for v in first_visits(log_of(rows), gap_ms=30 * 60_000, events=99)] == [[1, 2], [0, 4], [5]]


def test_lanes_take_whole_visits_in_order_and_end_together() -> None:
    visits = [np.arange(0, 5), np.arange(5, 7), np.arange(7, 9), np.arange(9, 10)]

    lanes = deal(visits, 2, length=4)

    assert [lane.tolist() for lane in lanes] == [[0, 1, 2, 3], [5, 6, 7, 8]]


def shop(people: int, events: int, seed: int = 3) -> list[tuple[str, str, float]]:
    """Return visits that walk along a circle of items, so that what follows what can be learned."""
    draw = np.random.default_rng(seed)
    rows = []
    for person in range(people):
        item, begin = int(draw.integers(30)), float(draw.integers(0, 10_000))
        for step in range(events):
            rows.append((f"p{person}", f"i{item % 30:02}", begin + step))
            item += int(draw.choice([1, 1, 1, 2]))
    return sorted(rows, key=lambda row: row[2])


@pytest.mark.parametrize("lag_ms", [0, 1500])
def test_a_pipeline_that_shows_what_was_predicted_at_the_lag_has_the_offline_figure(lag_ms: int) -> None:
    """The offline places, given back as if they had been read, are judged equal; other ones are not."""
    train = log_of(shop(150, 10))
    sent = log_of([(f"new{n % 20}", f"i{(n % 20 + n // 20) % 30:02}", 20_000) for n in range(200)])
    at = np.arange(200) * 50 + 1_800_000_000_000  # twenty people in turns: each acts every second
    plan = Plan(model=SMALL, rules=SourceRules(), repeats=True)
    times = pa.array(at).cast(pa.timestamp("ms", "UTC")).cast(pa.timestamp("us", "UTC"))
    log, count = read_events([train, sent.set_column(3, "event_at", times)], WEIGHTS)
    late = visible_before(log, batching="event", visible_after_ms=lag_ms)
    (offline,) = offline_ranks(log, count, plan, [late])
    known_ms = at - 1000 * (2 if lag_ms else 1)  # what each list says it covers: all but the last, or all
    is_measured = np.arange(200) >= 40
    right = Reading(at, offline.by_model["blend"], known_ms, np.ones(200, bool), is_measured)
    wrong = Reading(at, np.full(200, np.inf), known_ms, np.ones(200, bool), is_measured)

    told = [judge(train, sent, one, plan, lag_ms=lag_ms, weights=WEIGHTS) for one in (right, wrong)]

    assert told[0]["cases"] == 160
    assert told[0]["models"]["pipeline"] == told[0]["models"]["blend"] == told[0]["models"]["blend_at_lag"]
    assert set(told[0]["pipeline_minus_offline"].values()) == {0.0}
    assert told[1]["pipeline_minus_offline"]["hr@20"] == -told[0]["models"]["blend"]["hr@20"] < -0.3
    lengths = [sum(row["events"] for row in one["by_history"] if row["earlier_events"] == "1") for one in told]
    assert lengths == ([20, 20] if lag_ms else [0, 0])  # with the lag the third event sees one of two


def test_sent_order_is_that_of_the_reading_whatever_the_times() -> None:
    """Lanes are sent side by side: the table is lane by lane, the times are interleaved."""
    train = log_of(shop(150, 10))
    sent = log_of([("ada", "i01", 0), ("ada", "i02", 0), ("bob", "i05", 0), ("bob", "i06", 0)])
    at = np.array([0, 2000, 1000, 3000]) + 1_800_000_000_000
    plan = Plan(model=SMALL, rules=SourceRules(), repeats=True)
    places, known_ms = np.array([0.0, np.inf, np.inf, np.inf]), np.array([0, 0, 0, at[2]])
    personal = np.array([False, False, False, True])
    reading = Reading(at, places, known_ms, personal, np.array([True, True, False, True]))

    told = judge(train, sent, reading, plan, lag_ms=0, weights=WEIGHTS)

    assert (told["cases"], told["models"]["pipeline"]["hr@20"]) == (3, 0.33333)
    assert told["share_of_lists_with_every_event"] == 0.66667  # ada's second list does not cover her first event
    assert told["popular_though_known"] == 0
