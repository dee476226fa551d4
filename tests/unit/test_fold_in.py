"""Fold-in: formula and batched solver agree, items' order does not matter, contributions sum to scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterclick.errors import FoldInError
from afterclick.fold_in import contributions, fold_in_users, prepare_basis, solve_user_factor

RANK, ITEMS, REGULARIZATION = 8, 60, 0.7
FACTORS = np.random.default_rng(3).normal(size=(ITEMS, RANK)).astype(np.float32)
BASIS = prepare_basis(FACTORS, regularization=REGULARIZATION)

one_history = st.dictionaries(st.integers(0, ITEMS - 1), st.floats(0.01, 50.0), max_size=20)


def as_csr(histories: list[dict[int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    indptr = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    indices = np.array([item for history in histories for item in history], np.int64)
    return indptr, indices, np.array([c for history in histories for c in history.values()])


@settings(max_examples=200, deadline=None)
@given(st.lists(one_history, min_size=1, max_size=12))
def test_fold_in_users_equals_the_formula_for_histories_on_both_sides_of_the_rank(
    histories: list[dict[int, float]],
) -> None:
    found = fold_in_users(BASIS, *as_csr(histories))

    for history, factor in zip(histories, found, strict=True):
        items = np.array(list(history), np.int64)
        expected = solve_user_factor(np.array(list(history.values())), FACTORS[items].astype(float), BASIS.gram)
        np.testing.assert_allclose(factor, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rank", [64, 65, 100], ids=["general", "definite", "definite_short"])
@pytest.mark.parametrize("least", [0.2, 1.0], ids=["confidences_below_1", "none_below_1"])
def test_fold_in_users_equals_the_formula_on_both_sides_of_where_cholesky_begins(rank: int, least: float) -> None:
    draw = np.random.default_rng(7)
    basis = prepare_basis((draw.normal(size=(300, rank)) / 8).astype(np.float32), regularization=REGULARIZATION)
    histories = [
        dict(zip(draw.choice(300, n, replace=False).tolist(), draw.uniform(least, 9, n).tolist(), strict=True))
        for n in (1, 63, 64, 65, 66, 99, 101, 200)
    ]

    found = fold_in_users(basis, *as_csr(histories))

    for history, factor in zip(histories, found, strict=True):
        seen = basis.item_factors[list(history)]
        expected = solve_user_factor(np.array(list(history.values())), seen, basis.gram)
        np.testing.assert_allclose(factor, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4], ids=["well", "badly", "too_badly_for_single_precision"])
def test_fold_in_users_is_as_exact_as_double_precision_however_alike_items_are(spread: float) -> None:
    draw = np.random.default_rng(11)
    factors = draw.normal(size=(300, 1)) + spread * draw.normal(size=(300, 16))
    basis = prepare_basis(factors.astype(np.float32), regularization=1e-9)
    histories = [
        dict(zip(draw.choice(300, n, replace=False).tolist(), draw.uniform(1, 9, n).tolist(), strict=True))
        for n in (14, 40, 200)
    ]

    found = fold_in_users(basis, *as_csr(histories))

    for history, factor in zip(histories, found, strict=True):
        seen = basis.item_factors[list(history)]
        expected = solve_user_factor(np.array(list(history.values())), seen, basis.gram)
        assert np.linalg.norm(factor - expected) <= 1e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("item", [-1, ITEMS])
def test_fold_in_users_refuses_an_item_outside_the_model(item: int) -> None:
    with pytest.raises(FoldInError, match=f"item rows {item} to {item} of a model with {ITEMS} items"):
        fold_in_users(BASIS, *as_csr([{item: 1.0}]))


def test_fold_in_users_gives_zeros_when_history_is_empty() -> None:
    assert not fold_in_users(BASIS, *as_csr([{}, {}])).any()


def test_fold_in_users_is_invariant_to_item_order() -> None:
    history = {3: 2.0, 1: 5.0, 40: 1.0}

    forward, backward = fold_in_users(BASIS, *as_csr([history, dict(reversed(history.items()))]))

    np.testing.assert_allclose(forward, backward, rtol=1e-10)


@settings(max_examples=100, deadline=None)
@given(one_history.filter(bool), st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=5))
def test_contributions_sum_to_the_scores(history: dict[int, float], items: list[int]) -> None:
    indptr, indices, confidence = as_csr([history])
    scores = BASIS.item_factors[items] @ fold_in_users(BASIS, indptr, indices, confidence)[0]

    shares = contributions(BASIS, np.array(items), indices, confidence)

    assert shares.shape == (len(items), len(history))
    np.testing.assert_allclose(shares.sum(axis=1), scores, rtol=1e-8, atol=1e-9)


def test_solve_user_factor_refuses_when_lengths_differ() -> None:
    with pytest.raises(FoldInError, match="2 confidences for 1"):
        solve_user_factor(np.ones(2), FACTORS[:1].astype(float), BASIS.gram)


def test_fold_in_users_refuses_when_lengths_differ() -> None:
    with pytest.raises(FoldInError, match="indptr ends at 3"):
        fold_in_users(BASIS, np.array([0, 3]), np.array([1, 2]), np.ones(2))


@settings(max_examples=100, deadline=None)
@given(one_history.filter(bool), st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=5))
def test_contributions_equal_the_formula_for_histories_on_both_sides_of_the_rank(
    history: dict[int, float], items: list[int]
) -> None:
    _, indices, confidence = as_csr([history])
    seen = BASIS.item_factors[indices]
    inverse = np.linalg.inv(BASIS.gram + seen.T @ np.diag(confidence - 1) @ seen)

    shares = contributions(BASIS, np.array(items), indices, confidence)

    expected = BASIS.item_factors[items] @ inverse @ seen.T @ np.diag(confidence)
    np.testing.assert_allclose(shares, expected, rtol=1e-6, atol=1e-8)
