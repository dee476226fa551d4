"""The bulk queue against closed forms: nothing to do, steady flow, one at a time, and more than it can take."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterclick.benchmarks.batch_queue import BatchQueue, FloatVector, Passage, probed, simulate, slowdown

ONE, NOTHING = np.ones(1), np.zeros(1)


def queue(fixed: float, per_event: float = 0.0, spread: FloatVector = ONE) -> BatchQueue:
    return BatchQueue(fixed, per_event, spread, NOTHING, NOTHING)


def plain_model(one: BatchQueue, rate: float, seconds: float, post: int) -> list[float]:
    """Say the same post by post, without arrays; no spread, nothing before or after.

    In the same order of operations: a post that comes just as a batch begins belongs to it by the last bit.
    """
    apart = post / rate
    waiting = [number * apart for number in range(math.ceil(seconds / apart))]
    took, free_at = [], 0.0
    while waiting:
        start = max(free_at, waiting[0])
        mine = [at for at in waiting if at <= start]
        free_at = start + (one.fixed + one.per_event * len(mine) * post)
        took += [free_at - at for at in mine]
        waiting = waiting[len(mine) :]
    return took


def test_a_post_that_meets_nobody_takes_one_batch() -> None:
    passage = simulate(queue(0.1, 0.001), rate=1, seconds=100, seed=1, post=1)

    assert passage.seconds == pytest.approx(0.101)


def test_steady_flow_waits_half_a_batch_and_then_one() -> None:
    """Fluid limit: uniform over one batch, plus one."""
    one = queue(0.1, 0.0005)

    passage = simulate(one, rate=1_000, seconds=200, seed=1, post=1)

    length = 0.1 / (1 - 1_000 * 0.0005)
    assert one.steady_batch(1_000) == pytest.approx(length)
    assert np.median(passage.lengths[20:]) == pytest.approx(length, rel=0.01)
    steady = passage.seconds[len(passage.seconds) // 2 :]
    assert steady.mean() == pytest.approx(1.5 * length, rel=0.01)
    assert np.percentile(steady, 99) == pytest.approx(1.99 * length, rel=0.02)


def test_with_as_long_batches_for_any_number_the_mean_wait_is_that_of_renewal_theory() -> None:
    """Length-biased: an event falls into long batches, and waits E[D²] / 2 E[D] for their end (Cox 1962)."""
    lengths = np.random.default_rng(1).exponential(0.1, 20_000)
    one = queue(0.1, 0.0, lengths / 0.1)

    passage = simulate(one, rate=2_000, seconds=1_000, seed=2, post=1)

    d = passage.lengths
    expected = (d**2).mean() / (2 * d.mean()) + d.mean()  # the next batch is independent, up to the blocks
    assert passage.seconds.mean() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("load", [0.02, 0.1])
def test_without_a_fixed_part_random_single_events_wait_as_in_m_d_1_in_light_traffic(load: float) -> None:
    """Pollaczek and Khinchine; to the first order in the load, since a batch of two ends both together."""
    service = 0.01
    anywhere = np.random.default_rng(3).uniform(0, 100, 50_000)  # evenly posted, arriving at random: nearly Poisson
    one = BatchQueue(0.0, service, ONE, anywhere, NOTHING)

    passage = simulate(one, rate=load / service, seconds=20_000, seed=4, post=1)

    waited = (passage.seen - passage.arrived).mean() - service
    assert waited == pytest.approx(service * load / (2 * (1 - load)), rel=0.05 + 2 * load)
    assert waited > 0


def test_more_than_the_server_can_take_ends_saturated_and_the_wait_grows() -> None:
    one = queue(0.1, 0.001)

    passage = simulate(one, rate=2_000, seconds=2_000, seed=1)

    assert one.capacity == pytest.approx(1_000)
    assert math.isinf(one.steady_batch(1_000))
    assert passage.lengths[-1] > 60
    assert np.all(np.diff(passage.lengths[5:]) > 0)


def test_a_queue_without_a_cost_per_event_takes_any_rate() -> None:
    assert math.isinf(queue(0.1).capacity)
    assert queue(0.1).steady_batch(10**9) == pytest.approx(0.1)


def test_a_slowed_queue_takes_as_many_times_longer() -> None:
    slow, fast = (simulate(one, 300, seconds=60, seed=1) for one in (queue(0.1, 0.001).slowed(1.0), queue(0.1, 0.001)))

    assert slow.seconds == pytest.approx(fast.seconds)
    assert queue(0.1, 0.001).slowed(2.0).steady_batch(100) == pytest.approx(0.2 / 0.8)


@given(
    fixed=st.floats(0.01, 0.5),
    per_event=st.floats(0.0, 0.002),
    rate=st.floats(1, 400),
    post=st.integers(1, 20),
)
def test_simulation_is_the_plain_model(fixed: float, per_event: float, rate: float, post: int) -> None:
    one = queue(fixed, per_event)

    assert sorted(simulate(one, rate, seconds=10, seed=1, post=post).seconds) == pytest.approx(
        sorted(plain_model(one, rate, 10, post))
    )


@given(rate=st.floats(10, 900), seed=st.integers(0, 100))
def test_nothing_is_lost_and_nothing_is_seen_before_it_came(rate: float, seed: int) -> None:
    one = BatchQueue(0.05, 0.0005, np.array([0.5, 1, 3]), np.array([0.01, 0.02]), np.array([-0.2, 0.03]))

    passage = simulate(one, rate, seconds=10, seed=seed)

    assert passage.events.sum() == 10 * len(passage.posted) == 10 * len(np.arange(0, 10, 10 / rate))
    assert passage.seconds.min() >= 0.01 - 1e-9


def test_a_probe_measures_one_at_a_time() -> None:
    passage = Passage(np.array([0.0, 1.0, 2.0, 3.0]), np.zeros(4), np.array([2.0, 3.0, 4.0, 5.0]), ONE, ONE, ONE)

    assert probed(passage, share=1.0, seed=1).tolist() == [2.0, 2.0]
    assert len(probed(passage, share=0.0, seed=1)) == 0


@pytest.mark.parametrize(
    ("busy", "cores", "factor"),
    [(0.0, 2, 1.0), (0.5, 1, 2.0), (1.0, 2, 4 / 3), (1.5, 2, 1 / (1 - 0.75**2)), (2.0, 2, math.inf), (0.0, 1, 1.0)],
)
def test_slowdown_is_that_of_processor_sharing(busy: float, cores: int, factor: float) -> None:
    assert slowdown(busy, cores) == pytest.approx(factor)
