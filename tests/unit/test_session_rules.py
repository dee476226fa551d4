"""Cutting sessions: the boundary, lateness, and any split into batches against a plain model."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from afterclick.session_rules import Sessions, advance, merge_neighbours

GAP = 30
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Event:
    subject: int
    at: int


def as_sessions(events: list[Event]) -> Sessions:
    subject = np.array([event.subject for event in events], np.int64)
    at = np.array([event.at for event in events], np.int64)
    ones, zeros = np.ones(len(at), np.int64), np.zeros(len(at), np.int64)
    return Sessions(subject, at, at, ones, ones, zeros, zeros, at.astype(float))


def spans(sessions: Sessions) -> list[tuple[int, int, int, int]]:
    columns = (sessions.subject, sessions.started, sessions.ended, sessions.event_count)
    return sorted(zip(*[column.tolist() for column in columns], strict=True))


def plain_model(events: list[Event]) -> list[tuple[int, int, int, int]]:
    """Written like the definition: a maximal run of a subject's events with neighbouring gaps within the limit."""
    found = []
    for subject in {event.subject for event in events}:
        run: list[int] = []
        for at in sorted(event.at for event in events if event.subject == subject):
            if run and at - run[-1] > GAP:
                found.append((subject, run[0], run[-1], len(run)))
                run = []
            run.append(at)
        found.append((subject, run[0], run[-1], len(run)))
    return sorted(found)


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


events_lists = st.lists(st.builds(Event, st.integers(0, 3), st.integers(0, 400)), min_size=1, max_size=60)


@settings(max_examples=300, deadline=None)
@given(events_lists, st.randoms(use_true_random=False), st.integers(1, 8))
def test_advance_gives_the_plain_model_for_any_split_within_the_watermark(
    events: list[Event], draw: object, batch_count: int
) -> None:
    """Shuffled by less than the delay and cut anywhere; the watermark follows the largest time seen, less the delay."""
    delay = 50
    disordered = sorted(events, key=lambda event: event.at + draw.uniform(0, delay))  # type: ignore[attr-defined]
    cuts = sorted(draw.randrange(len(events) + 1) for _ in range(batch_count))  # type: ignore[attr-defined]
    batches, watermark = [], 0
    for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        batches.append((disordered[begin:end], watermark))
        seen = [event.at for event in disordered[:end]]
        watermark = max(watermark, max(seen, default=0) - delay)

    closed, still_open = advanced(*batches, ([], NEVER))

    assert closed == plain_model(events)
    assert still_open == []


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
