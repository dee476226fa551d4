"""The simulated shop: a few products are bought often, most hardly ever; people come back to their topics."""

import numpy as np

from afterclick.benchmarks.long_tail import simulated_purchases


def test_a_tenth_of_the_products_is_bought_as_often_as_the_other_nine() -> None:
    bought = simulated_purchases(4_000, 3_000)

    times = np.sort(np.asarray(bought.sum(axis=0)).ravel())[::-1]
    assert bought.shape == (3_000, 4_000)
    assert np.diff(bought.indptr).min() >= 1
    assert 15 < times.sum() / 3_000 < 25
    assert times[:400].sum() > times[400:].sum() > 0


def test_most_purchases_of_a_person_are_of_three_topics() -> None:
    bought = simulated_purchases(40_000, 500)

    of_topics = [np.sort(np.bincount(row.indices % 100, row.data))[::-1] for row in bought if row.nnz >= 20]
    assert np.mean([counts[:3].sum() / counts.sum() for counts in of_topics]) > 0.7


def test_the_same_seed_makes_the_same_shop() -> None:
    assert (simulated_purchases(500, 50) != simulated_purchases(500, 50)).nnz == 0
    assert (simulated_purchases(500, 50) != simulated_purchases(500, 50, seed=2)).nnz > 0
