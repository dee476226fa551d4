"""Followers: directed, nearer steps weigh more, memory bounded; in blocks as event by event."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from afterclick.covisitation import Covisitation, Steps, score_covisitation, steps_to
from afterclick.sequences import Sequences


def sequence(*items: int) -> Sequences:
    return Sequences(np.array([0, len(items)]), np.array(items, np.int64), np.ones(len(items)))


def all_steps(*items: int) -> Steps:
    places = np.arange(len(items))
    return steps_to(sequence(*items), places, np.zeros(len(items), np.int64), places)[0]


def test_steps_to_weighs_a_step_of_d_by_one_over_d_and_leaves_out_the_item_itself() -> None:
    steps = all_steps(7, 7, 8)

    found = sorted(zip(steps.before.tolist(), steps.after.tolist(), steps.weights.tolist(), strict=True))
    assert found == [(7, 8, 0.5), (7, 8, 1.0)]


def test_steps_to_never_crosses_from_one_person_to_another() -> None:
    two = Sequences(np.array([0, 1, 2]), np.array([1, 2]), np.ones(2))

    steps, _ = steps_to(two, np.array([0, 1]), np.array([0, 1]), np.array([0, 1]))

    assert len(steps.before) == 0


def test_add_in_one_go_counts_like_step_by_step_while_nothing_overflows() -> None:
    items = np.random.default_rng(0).integers(0, 9, 400).tolist()
    steps = all_steps(*items)
    one, other = Covisitation(9, 16), Covisitation(9, 16)

    one.add(steps)
    for place in range(len(steps.before)):
        part = slice(place, place + 1)
        other.add(Steps(steps.before[part], steps.after[part], steps.weights[part]))

    def dense(table: Covisitation) -> np.ndarray:
        found = np.zeros((9, 9))
        rows, slots = np.nonzero(table.followers >= 0)
        found[rows, table.followers[rows, slots]] = table.weights[rows, slots]
        return found

    np.testing.assert_allclose(dense(one), dense(other), rtol=1e-5)
    np.testing.assert_allclose(one.totals, dense(one).sum(axis=1), rtol=1e-5)


def test_add_lets_a_new_follower_take_the_weakest_one_s_place_when_the_row_is_full() -> None:
    table = Covisitation(5, capacity=2)
    table.add(Steps(np.array([0, 0]), np.array([1, 2]), np.array([5.0, 1.0])))

    table.add(Steps(np.array([0]), np.array([3]), np.array([2.0])))

    assert set(table.followers[0].tolist()) == {1, 3}


@given(
    st.lists(st.integers(2, 99), max_size=4, unique=True),
    st.lists(st.integers(1, 99), min_size=1, max_size=9, unique=True),
)
def test_add_in_one_go_keeps_the_strongest_of_old_and_new_and_the_strongest_new_one_in_any_case(
    old: list[int], new: list[int]
) -> None:
    table = Covisitation(30, capacity=4)
    for first, weights in ((1, old), (10, new)):
        followers = first + np.arange(len(weights))
        table.add(Steps(np.zeros(len(weights), np.int64), followers, np.array(weights, float)))

    strongest = sorted([*old, *new])[-4:]
    strongest[0] = min(strongest[0], max(new))
    assert sorted(table.weights[0][table.followers[0] >= 0].tolist()) == strongest


def test_score_covisitation_prefers_what_followed_the_newest_item() -> None:
    table = Covisitation(6, 4)
    table.add(Steps(np.array([1, 2]), np.array([4, 5]), np.array([3.0, 3.0])))

    cells = score_covisitation(sequence(1, 2), table)

    assert cells.items.tolist() == [4, 5]
    np.testing.assert_allclose(cells.values, [0.6 * 3 / 5, 3 / 5])
