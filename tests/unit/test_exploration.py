"""Exploration: how often each item is shown at each place is the propensity that is told."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from afterclick.exploration import explore

RUNS = 20_000


@given(
    n=st.integers(1, 6), reserve=st.integers(0, 4), fixed=st.integers(0, 6), share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
)  # fmt: skip
@hypothesis_settings(max_examples=25, deadline=None)
def test_frequencies_equal_the_propensities_told(n: int, reserve: int, fixed: int, share: float, seed: int) -> None:
    items, below, draw = (
        [f"i{number}" for number in range(n)],
        [f"r{number}" for number in range(reserve)],
        random.Random(seed),
    )
    fixed = min(fixed, n)
    times: Counter[tuple[int, str]] = Counter()
    told: dict[tuple[int, str], float] = {}
    for _ in range(RUNS):
        shown = explore(items, below, fixed=fixed, share=share, draw=draw)
        assert len(shown.items) == len(set(shown.items)) == n
        assert shown.items[:fixed] == items[:fixed]
        for cell, propensity in zip(enumerate(shown.items), shown.propensities, strict=True):
            times[cell] += 1
            assert told.setdefault(cell, propensity) == propensity

    for cell, propensity in told.items():
        error = (propensity * (1 - propensity) / RUNS) ** 0.5
        assert abs(times[cell] / RUNS - propensity) <= 5.5 * error + 1e-12  # 1 of 10^7 by chance
    if share and fixed < n and reserve and all((place, name) in told for place in range(fixed, n) for name in below):
        for place in range(n):
            assert sum(p for (at, _), p in told.items() if at == place) == pytest.approx(1.0)


def test_weighing_by_propensity_estimates_what_another_list_would_have_earned() -> None:
    """Clicks depend on the item alone; a policy that shows r0 first is judged from lists that hardly ever did."""
    worth, draw = {"a": 0.1, "b": 0.2, "r0": 0.6, "r1": 0.0}, random.Random(5)
    earned = 0.0
    for _ in range(200_000):
        shown = explore(["a", "b"], ["r0", "r1"], fixed=0, share=0.2, draw=draw)
        if shown.items[0] == "r0":
            earned += (draw.random() < worth["r0"]) / shown.propensities[0]

    assert earned / 200_000 == pytest.approx(worth["r0"], abs=0.03)
