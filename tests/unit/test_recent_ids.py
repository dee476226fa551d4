"""Recent ids: nobody who was taken in is missed, and the hours that are named are theirs."""

import random

import numpy as np
import pytest

from afterclick.recent_ids import RecentIds


@pytest.mark.parametrize("seed", range(30))
def test_find_misses_nobody_within_the_window_and_names_the_hours(seed: int) -> None:
    draw = random.Random(seed)
    since = 10
    ids, model = RecentIds(since), list[tuple[int, int]]()
    for _ in range(12):
        rows = [(draw.randrange(-40, 40), draw.randrange(since - 2, since + 6)) for _ in range(draw.randrange(15))]
        ids.add(np.array([at for at, _ in rows], np.int64), np.array([hour for _, hour in rows], np.int64))
        model += rows
        if draw.random() < 0.3:
            since += draw.randrange(3)
            ids.forget_before(since)
        model = [(at, hour) for at, hour in model if hour >= since]
        asked = [draw.randrange(-40, 40) for _ in range(10)]

        found, hours = ids.find(np.array(asked, np.int64))

        met = [hour for at, hour in model if at in asked]
        assert found.tolist() == [any(at == held for held, _ in model) for at in asked]
        assert hours == ((min(met), max(met)) if met else None)
        assert len(ids) == len(model)


def test_forget_before_never_widens_the_window() -> None:
    ids = RecentIds(10)
    ids.forget_before(8)
    ids.add(np.array([1]), np.array([9]))

    assert ids.since_hour == 10
    assert len(ids) == 0


def test_find_when_nothing_is_held_or_asked() -> None:
    nothing = np.array([], np.int64)
    ids = RecentIds(0)

    assert ids.find(nothing)[1] is None
    assert ids.find(np.array([7]))[0].tolist() == [False]
