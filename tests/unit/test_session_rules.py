"""Cutting sessions: the boundary, lateness, and any split into batches against a plain model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterclick.session_rules import (
    FIRSTS,
    SUMS,
    Mentions,
    Sessions,
    advance,
    count_items,
    find_session,
    merge_neighbours,
)

GAP = 30
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Event:
    subject: int
    at: int
    word: int = -1
    is_order: bool = False


def as_sessions(events: list[Event]) -> Sessions:
    """Return events as sessions; a purchase every seventh unit of time, and words that follow from the time."""
    subject = np.array([event.subject for event in events], np.int64)
    at = np.array([event.at for event in events], np.int64)
    ones, zeros = np.ones(len(at), np.int64), np.zeros(len(at), np.int64)
    word = np.array([event.word for event in events], np.int64)
    bought = np.array([event.is_order for event in events], np.int64)
    counts = dict.fromkeys(SUMS, zeros) | {"event_count": ones, "purchase_count": bought, "dwell_ms": at}
    words = {part: column for name in FIRSTS for part, column in ((name, word), (f"{name}_at", at))}
    numbers = {"cart_value": at.astype(float), "order_value": at * bought * 1.0, "scroll_percent": word * 1.0}
    return Sessions(subject=subject, started=at, ended=at, **{**counts, **numbers, **words})


def spans(sessions: Sessions) -> list[tuple[int, int, int, int]]:
    columns = (sessions.subject, sessions.started, sessions.ended, sessions.event_count)
    return sorted(zip(*[column.tolist() for column in columns], strict=True))


def plain_runs(events: list[Event], *, close_on_order: bool = False) -> list[list[Event]]:
    """Written like the definition: a maximal run of a subject's events with neighbouring gaps within the limit."""
    found: list[list[Event]] = []
    for subject in {event.subject for event in events}:
        run: list[Event] = []
        for event in sorted((e for e in events if e.subject == subject), key=lambda e: (e.at, e.is_order)):
            is_over = close_on_order and bool(run) and run[-1].is_order and event.at > run[-1].at
            if run and (event.at - run[-1].at > GAP or is_over):
                found.append(run)
                run = []
            run.append(event)
        found.append(run)
    return found


def plain_model(events: list[Event]) -> list[tuple[int, int, int, int]]:
    return sorted((run[0].subject, run[0].at, run[-1].at, len(run)) for run in plain_runs(events))


def plain_record(run: list[Event]) -> tuple[float, ...]:
    named = [(event.at, event.word) for event in run if event.word >= 0]
    orders = [event.at for event in run if event.is_order]
    at, word = min(named, default=(NEVER, -1))
    spoken = max(event.word for event in run)
    times = sum(event.at for event in run)
    return (run[0].subject, run[0].at, run[-1].at, len(run), len(orders), times, sum(orders), spoken, word, at)


def records(sessions: Sessions) -> list[tuple[float, ...]]:
    names = (
        "subject", "started", "ended", "event_count", "purchase_count", "dwell_ms", "order_value", "scroll_percent",
        "device", "device_at",
    )  # fmt: skip
    return sorted(zip(*[getattr(sessions, name).tolist() for name in names], strict=True))


def advanced(
    *batches: tuple[list[Event], int],
) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, int, int, int]]]:
    """Return closed and open sessions after the batches, each with its watermark."""
    open_sessions, closed = as_sessions([]), as_sessions([])
    for events, watermark in batches:
        change = advance(open_sessions, as_sessions(events), gap=GAP, watermark=watermark)
        open_sessions, closed = change.open, closed.joined_with(change.closed)
    return spans(closed), spans(open_sessions)


def test_advance_keeps_one_session_when_event_exactly_at_gap() -> None:
    assert advanced(([Event(1, 100), Event(1, 130)], 0)) == ([], [(1, 100, 130, 2)])


def test_advance_starts_a_session_when_event_one_unit_after_gap() -> None:
    assert advanced(([Event(1, 100), Event(1, 131)], 0)) == ([], [(1, 100, 100, 1), (1, 131, 131, 1)])


def test_advance_keeps_open_when_watermark_exactly_at_end_plus_gap() -> None:
    assert advanced(([Event(1, 100)], 0), ([], 130)) == ([], [(1, 100, 100, 1)])


def test_advance_closes_when_watermark_one_unit_later() -> None:
    assert advanced(([Event(1, 100)], 0), ([], 131)) == ([(1, 100, 100, 1)], [])


def test_advance_merges_two_sessions_when_late_event_bridges_them() -> None:
    assert advanced(([Event(1, 100), Event(1, 150)], 0), ([Event(1, 125)], 110)) == ([], [(1, 100, 150, 3)])


def test_advance_takes_an_event_exactly_at_the_watermark_and_not_one_before() -> None:
    change = advance(as_sessions([]), as_sessions([Event(1, 99), Event(1, 100)]), gap=GAP, watermark=100)

    assert change.is_late.tolist() == [True, False]
    assert spans(change.open) == [(1, 100, 100, 1)]


def test_advance_uses_the_latest_end_when_a_short_session_starts_inside_a_long_one() -> None:
    long_one, short = as_sessions([Event(1, 0), Event(1, 25), Event(1, 50)]), as_sessions([Event(1, 10), Event(1, 75)])
    merged = merge_neighbours(merge_neighbours(long_one, gap=GAP).joined_with(short), gap=GAP)

    assert spans(merged) == [(1, 0, 75, 5)]


def test_merge_neighbours_keeps_subjects_apart_at_the_ends_of_time() -> None:
    events = [Event(1, 0), Event(2, 0), Event(1, 4_000_000_000_000_000), Event(2, 4_000_000_000_000_001)]

    assert spans(merge_neighbours(as_sessions(events), gap=GAP)) == plain_model(events)


def test_merge_neighbours_returns_nothing_when_empty() -> None:
    assert len(merge_neighbours(as_sessions([]), gap=GAP)) == 0


events_lists = st.lists(
    st.builds(Event, st.integers(0, 3), st.integers(0, 400), st.integers(-1, 2), st.booleans()), min_size=1, max_size=60
)


@pytest.mark.parametrize("close_on_order", [False, True])
@settings(max_examples=600, deadline=None)
@given(events_lists, st.randoms(use_true_random=False), st.integers(1, 8))
def test_advance_gives_the_plain_model_for_any_split_within_the_watermark(
    close_on_order: bool, events: list[Event], draw: Any, batch_count: int
) -> None:
    """Shuffled by less than the delay and cut anywhere; the watermark follows the largest time seen, less the delay."""
    delay = 50
    disordered = sorted(events, key=lambda event: event.at + draw.uniform(0, delay))
    cuts = sorted(draw.randrange(len(events) + 1) for _ in range(batch_count))
    open_sessions, closed, watermark = as_sessions([]), as_sessions([]), 0
    for begin, end in zip([0, *cuts, len(events)], [*cuts, len(events), len(events)], strict=True):
        until = NEVER if begin == len(events) == end else watermark
        change = advance(
            open_sessions,
            as_sessions(disordered[begin:end]),
            gap=GAP,
            watermark=until,
            close_on_order=close_on_order,
        )
        open_sessions, closed = change.open, closed.joined_with(change.closed)
        watermark = max(watermark, max((event.at for event in disordered[:end]), default=0) - delay)

    assert records(closed) == sorted(map(plain_record, plain_runs(events, close_on_order=close_on_order)))
    assert len(open_sessions) == 0


def test_advance_cuts_an_open_session_when_a_late_order_ends_it() -> None:
    first = advance(
        as_sessions([]), as_sessions([Event(1, 0), Event(1, 20)]), gap=GAP, watermark=0, close_on_order=True
    )

    later = advance(first.open, as_sessions([Event(1, 10, is_order=True)]), gap=GAP, watermark=9, close_on_order=True)

    assert spans(first.ongoing) == [(1, 0, 20, 2)]
    assert spans(later.ongoing) == [(1, 0, 10, 2), (1, 20, 20, 1)]


def test_find_session_looks_as_far_as_the_gap_and_prefers_the_earlier() -> None:
    sessions = as_sessions([Event(1, 100), Event(1, 160), Event(2, 100)])
    subject, at = np.array([1, 1, 1, 1, 2, 3]), np.array([69, 70, 130, 191, 130, 100])

    assert find_session(sessions, subject, at, gap=GAP).tolist() == [-1, 0, 0, -1, 2, -1]


def test_count_items_keeps_the_earliest_and_counts_the_rest() -> None:
    sessions = merge_neighbours(as_sessions([Event(1, 0), Event(1, 20), Event(2, 0)]), gap=GAP)
    mentions = Mentions(np.array([1, 1, 1, 1, 2]), np.array([7, 8, 7, 9, 7]), np.array([5, 6, 7, 8, 0]))

    counts = count_items(sessions, mentions, limit=2)

    assert (counts.distinct.tolist(), counts.uncounted.tolist()) == ([2, 1], [1, 0])
    assert counts.kept.tolist() == [0, 1, 4]


@settings(max_examples=200, deadline=None)
@given(events_lists, st.integers(0, 450))
def test_advance_gives_every_event_exactly_one_place(events: list[Event], watermark: int) -> None:
    arriving = as_sessions(events)

    change = advance(as_sessions([]), arriving, gap=GAP, watermark=watermark)

    placed = int(change.open.event_count.sum() + change.closed.event_count.sum() + change.is_late.sum())
    assert placed == len(events)
    values = (
        change.open.order_value.sum() + change.closed.order_value.sum() + arriving.order_value[change.is_late].sum()
    )
    assert values == arriving.order_value.sum()
