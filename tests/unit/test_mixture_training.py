"""Two mixtures learned from held-out time: next events within visits, whole visits of people who come back."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from afterclick.blend import SOURCES
from afterclick.event_logs import EventLog, read_events, visible_before
from afterclick.mixture_training import candidates, learn_mixtures, next_events, observe, visits
from afterclick.mixtures import GAP_MS
from afterclick.source_rules import SourceRules
from builders import make_replay

DAY = 86_400_000


def log_of(rows: list[tuple[str, str, int]]) -> EventLog:
    columns: dict[str, Any] = dict(zip(("subject_id", "item_id", "event_ms"), zip(*rows, strict=True), strict=True))
    times = pa.array(columns.pop("event_ms"), pa.int64()).cast(pa.timestamp("ms", "UTC"))
    table = pa.table({name: list(values) for name, values in columns.items()}).append_column("event_at", times)
    return read_events([table.append_column("event_type", pa.array(["view"] * len(rows)))], {"view": 1.0})[0]


def shopping(people: int = 40, days: int = 30) -> EventLog:
    """Everybody begins a day with their own favourite, then walks from some other item to the ones after it."""
    draw = np.random.default_rng(2)
    rows = []
    for day in range(days):
        for person in range(people):
            start, at = int(draw.integers(0, 40)), day * DAY + int(draw.integers(0, DAY // 2))
            walked = [f"own{person % 20:02d}", *(f"i{(start + step) % 40:02d}" for step in range(4))]
            rows += [(f"u{person:02d}", item, at + step * 60_000) for step, item in enumerate(walked)]
    return log_of(rows)


def test_who_comes_back_is_listed_by_their_past_and_who_is_here_by_the_last_item() -> None:
    log = shopping()

    mixtures = learn_mixtures(make_replay(log, is_live=False), int(len(log) * 0.8), len(log))

    weights = [dict(zip(SOURCES, one.blend.weights[3], strict=True)) for one in (mixtures.in_visit, mixtures.returning)]
    assert weights[0]["covisitation"] / max(weights[0]["frequency"], 1e-9) > 20
    assert weights[1]["covisitation"] / max(weights[1]["frequency"], 1e-9) < 20
    assert mixtures.differ


def test_visits_want_all_that_was_chosen_up_to_the_end_and_only_of_people_who_had_come_before() -> None:
    minute = 60_000
    log = log_of(
        [
            ("ada", "a", 0),
            ("ada", "b", DAY),
            ("ada", "c", DAY + GAP_MS),
            ("bob", "d", DAY + GAP_MS + 1),
            ("ada", "e", DAY + 2 * GAP_MS),
            ("ada", "b", DAY + 2 * GAP_MS + minute),
            ("ada", "f", DAY + 3 * GAP_MS),
        ]
    )

    found = visits(make_replay(log, is_live=False), 1, 6)

    assert found.events.tolist() == [1]
    assert [str(log.item_ids[item]) for item in found.wanted.items] == ["b", "c", "e"]


def test_next_events_are_those_within_the_gap_and_the_first_ones_of_new_people() -> None:
    log = log_of([("ada", "a", 0), ("ada", "b", GAP_MS), ("bob", "c", GAP_MS), ("ada", "d", 2 * GAP_MS + 1)])

    found = next_events(make_replay(log, is_live=False), 1, 4)

    assert found.events.tolist() == [1, 2]
    assert found.wanted.people.tolist() == [0, 1]


@pytest.mark.parametrize("repeats", [True, False])
def test_one_mixture_serves_for_both_when_nobody_comes_back(repeats: bool) -> None:
    draw = np.random.default_rng(0)
    rows = [(f"u{n // 10}", f"i{draw.integers(0, 30)}", n * 1000) for n in range(1500)]
    log = log_of(rows)

    mixtures = learn_mixtures(make_replay(log, repeats=repeats, is_live=False), 1000, 1500)

    assert not mixtures.differ


def test_what_comes_after_the_held_out_events_changes_nothing_learned() -> None:
    log = shopping(days=12)
    cut = int(len(log) * 0.8)
    begin = int(cut * 0.8)

    whole = learn_mixtures(make_replay(log, is_live=False), begin, cut)
    alone = learn_mixtures(make_replay(log.only(np.arange(len(log)) < cut), is_live=False), begin, cut)

    for one, other in zip(whole[:2], alone[:2], strict=True):
        np.testing.assert_allclose(one.blend.weights, other.blend.weights)
        assert one.rules == other.rules


@pytest.mark.parametrize("lag_ms", [0, 3 * DAY])
def test_what_was_known_does_not_depend_on_the_rules_tried_before(lag_ms: int) -> None:
    """With a lag the first cases see less than the frozen counts hold; no rule may see more of them than the first."""
    log = shopping(people=20, days=12)
    begin = int(len(log) * 0.8)
    visible = visible_before(log, batching="event", visible_after_ms=lag_ms)
    replay = make_replay(log, is_live=False, visible=visible)
    factors, asked = replay.train(begin, None), visits(replay, begin, len(log))
    rules = [SourceRules(), SourceRules(interest_half_life=5.0, repeat_half_life=20.0, repeat_rate_power=0.5)]
    cases = list(observe(replay, asked, begin))

    tried = [[candidates(case, factors, one) for case in cases] for one in (*rules, rules[0])]
    anew = [candidates(case, factors, rules[1]) for case in observe(replay, asked, begin)]

    assert (int(visible[asked.events[0]]) < begin) == (lag_ms > 0)
    for one, other in [*zip(tried[0], tried[2], strict=True), *zip(tried[1], anew, strict=True)]:
        np.testing.assert_array_equal(one.features, other.features)
    assert any(
        (one.features != other.features).any()
        for one, other in zip(tried[0], tried[1], strict=True)
        if one.features.shape == other.features.shape
    )
