"""New items folded into a model: as implicit itself would, and nothing else changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from afterclick.fold_in import fold_in_users, prepare_basis
from afterclick.item_fold_in import extend_model
from afterclick.models import Model
from afterclick.training import Training

RANK, ALPHA, LAMBDA = 6, 2.0, 0.5


def interactions(seed: int, people: int, items: int) -> csr_matrix:
    draw = np.random.default_rng(seed)
    dense = draw.integers(1, 6, (people, items)) * (draw.random((people, items)) < 0.3)
    return csr_matrix(dense.astype(np.float32))


def model_of(seed: int, item_ids: list[str], *, power: float = 1.0) -> Model:
    draw = np.random.default_rng(seed)
    factors = draw.normal(size=(len(item_ids), RANK)).astype(np.float32)
    popularity = np.ones(len(item_ids))
    return Model("v1", np.array(item_ids), factors, popularity, LAMBDA, ALPHA, {"view": 1.0}, "", weight_power=power)


def extended(model: Model, weights: csr_matrix, item_ids: list[str]) -> Training:
    return extend_model(model, weights, np.array(item_ids), version="v2", trained_at="now")


@given(seed=st.integers(0, 2**16), new=st.integers(1, 5), power=st.sampled_from([1.0, 0.5]))
def test_a_new_item_has_the_factor_that_implicit_recalculates(seed: int, new: int, power: float) -> None:
    items = [f"i{number:02d}" for number in range(20)]
    weights, known = interactions(seed, 30, 20), items[: 20 - new]
    model = model_of(seed, known, power=power)

    found = extended(model, weights, items).model

    powered = weights.power(power) if power != 1 else weights
    with threadpool_limits(1, "blas"):  # implicit warns otherwise
        als = AlternatingLeastSquares(factors=RANK, regularization=LAMBDA, alpha=ALPHA, use_cg=False, num_threads=1)
        als.item_factors = np.ascontiguousarray(model.item_factors)
        als.user_factors = np.zeros((30, RANK), np.float32)
        als.user_factors = np.asarray(als.recalculate_user(np.arange(30), powered[:, : 20 - new].tocsr()), np.float32)
        theirs = als.recalculate_item(np.arange(new), powered[:, 20 - new :].T.tocsr())
    assert found.item_factors[20 - new :] == pytest.approx(np.asarray(theirs), abs=2e-4)


def test_known_items_keep_their_factors_and_all_get_the_popularity_of_now() -> None:
    model = model_of(1, ["b", "d", "gone"])
    weights = csr_matrix(np.array([[1, 2, 0, 4], [0, 2, 3, 0]], np.float32))

    found = extended(model, weights, ["a", "b", "c", "d"])

    assert found.model.item_ids.tolist() == ["a", "b", "c", "d", "gone"]
    assert (found.model.item_factors[[1, 3, 4]] == model.item_factors).all()
    assert found.model.popularity.tolist() == [1, 4, 3, 4, 0]
    assert (found.model.version, found.model.trained_at) == ("v2", "now")
    assert found.weights.toarray().tolist() == [[1, 2, 0, 4, 0], [0, 2, 3, 0, 0]]


def test_an_item_that_only_newcomers_had_gets_a_factor_of_zeros() -> None:
    weights = csr_matrix(np.array([[1, 0], [0, 1]], np.float32))

    found = extended(model_of(1, ["known"]), weights, ["known", "new"]).model

    assert found.item_factors[1].tolist() == [0.0] * RANK


def test_a_model_that_lacks_nothing_changes_in_popularity_alone() -> None:
    model = model_of(2, ["a", "b"])

    found = extended(model, csr_matrix(np.array([[3, 0]], np.float32)), ["a", "b"]).model

    assert (found.item_factors == model.item_factors).all()
    assert found.popularity.tolist() == [3, 0]


def test_people_like_the_new_item_as_its_buyers_do() -> None:
    items = [f"i{number:02d}" for number in range(11)]
    draw = np.random.default_rng(4)
    taste = np.repeat(np.eye(2), 20, axis=0)
    dense = (taste @ np.repeat(np.eye(2), 5, axis=1) > 0) * (draw.random((40, 10)) < 0.6)
    weights = csr_matrix(np.column_stack([dense, dense[:, :5].any(axis=1)]).astype(np.float32))
    model = model_of(3, items[:10])
    model.item_factors[:] = np.repeat(np.eye(2, RANK), 5, axis=0) + draw.normal(size=(10, RANK)) / 20

    found = extended(model, weights, items).model

    basis = prepare_basis(found.item_factors, regularization=LAMBDA)
    vectors = fold_in_users(basis, np.array([0, 1, 2]), np.array([0, 7]), np.array([ALPHA, ALPHA]))
    first, second = vectors @ found.item_factors[10]
    assert first > 0.3 > second
