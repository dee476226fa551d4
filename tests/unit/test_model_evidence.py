"""Best items of a model: chosen in single precision, listed as if all scores had been computed in double precision."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterclick import ranking
from afterclick.blend import SOURCES
from afterclick.fold_in import prepare_basis
from afterclick.model_evidence import Known, ModelBasis
from afterclick.models import Model
from afterclick.sequences import Cells, IntVector

PEOPLE, RANK = 4, 5


def known_people(seed: int, n_items: int, *, kind: str, weights: tuple[float, ...]) -> Known:
    draw = np.random.default_rng(seed)
    spread = {"distinct": draw.normal(size=(n_items, RANK)), "equal": draw.integers(0, 2, (n_items, RANK))}
    near = 1 + draw.integers(0, 3, (n_items, RANK)) * 2.0**-22
    factors = np.asarray({**spread, "near": near}[kind], np.float32)
    popularity = draw.integers(0, 3, n_items) / 2
    model = Model("v1", np.arange(n_items).astype(str), factors, popularity, 0.1, 1.0, {}, "")
    basis = ModelBasis(model, prepare_basis(factors, regularization=0.1), popularity, popularity[::-1].copy())
    followed, again = some_cells(draw, n_items), some_cells(draw, n_items)
    vectors = draw.normal(size=(PEOPLE, RANK)) if kind == "distinct" else np.ones((PEOPLE, RANK))
    return Known(basis, again, vectors, followed, again, np.tile(weights, (PEOPLE, 1)))


def some_cells(draw: np.random.Generator, n_items: int) -> Cells:
    people, items = np.nonzero(draw.random((PEOPLE, n_items)) < 0.1)
    return Cells(people, items, draw.random(len(people)))


def plain_scores(known: Known) -> np.ndarray:
    dense = {"fold_in": known.vectors @ known.basis.fold_in.item_factors.T}
    for name, cells in (("covisitation", known.covisitation), ("frequency", known.frequency)):
        dense[name] = np.zeros_like(dense["fold_in"])
        dense[name][cells.people, cells.items] = cells.values
    shares = {"popularity": known.basis.popularity, "trend": known.basis.trend}
    weights = dict(zip(SOURCES, known.weights.T, strict=True))
    parts = [weights[name][:, None] * values for name, values in {**dense, **shares}.items()]
    return np.asarray(sum(parts))


WEIGHTS = st.sampled_from(
    [(1.0, 0.5, 0.3, 0.01, 0.1), (0.0, 1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 1.0, 0.0), (1.0, 0.0, 0.0, 0.0, 0.0)]
)


@given(
    n_items=st.integers(1, 300),
    n=st.integers(1, 20),
    kind=st.sampled_from(["distinct", "equal", "near"]),
    weights=WEIGHTS,
    block=st.sampled_from([7, 64, 16_384]),
    seed=st.integers(0, 2**16),
)
def test_best_items_have_the_highest_scores_of_double_precision(
    *, n_items: int, n: int, kind: str, weights: tuple[float, ...], block: int, seed: int
) -> None:
    known = known_people(seed, n_items, kind=kind, weights=weights)
    draw = np.random.default_rng(seed)
    excluded = draw.integers(0, PEOPLE, n_items // 3), draw.integers(0, n_items, n_items // 3)

    with mock.patch.multiple(ranking, _FIRST=block, _BLOCK=block):
        listed = known.best(n, excluded)

    scores = plain_scores(known)
    scores[excluded] = -np.inf
    assert listed.scores == pytest.approx(-np.sort(-scores, axis=1)[:, :n], abs=1e-12)
    assert np.take_along_axis(scores, listed.items, axis=1) == pytest.approx(listed.scores, abs=1e-12)
    assert all(len(set(items)) == len(items) for items in listed.items.tolist())


def test_who_may_be_shown_fewer_items_than_are_chosen_has_them_all() -> None:
    known = known_people(1, 40, kind="distinct", weights=(1.0, 0.5, 0.3, 0.01, 0.1))
    excluded = np.zeros(30, np.int64), np.arange(30)

    listed = known.best(12, excluded)

    assert sorted(listed.items[0, :10].tolist()) == [*range(30, 40)]
    assert (listed.scores[0, 10:] == -np.inf).all()
    assert np.isfinite(listed.scores[1:]).all()


def test_items_that_differ_by_less_than_single_precision_shows_are_told_apart() -> None:
    factors = np.ones((400, RANK), np.float32)
    vectors = np.ones((PEOPLE, RANK))
    popularity = np.linspace(0, 1, 400)
    model = Model("v1", np.arange(400).astype(str), factors, popularity, 0.1, 1.0, {}, "")
    basis = ModelBasis(model, prepare_basis(factors, regularization=0.1), popularity, popularity)
    none = Cells(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))

    listed = Known(basis, none, vectors, none, none, np.tile([1.0, 0, 0, 1e-9, 0], (PEOPLE, 1))).best(5, None)

    assert listed.items.tolist() == [[399, 398, 397, 396, 395]] * PEOPLE


def test_a_list_does_not_depend_on_who_else_is_ranked() -> None:
    known = known_people(3, 2_000, kind="distinct", weights=(1.0, 0.5, 0.3, 0.01, 0.1))

    together = known.best(20, None)

    for person in range(PEOPLE):
        alone = only(known, person).best(20, None)
        assert alone.items.tolist() == together.items[person : person + 1].tolist()
        assert alone.scores.tobytes() == together.scores[person].tobytes()


def only(known: Known, person: int) -> Known:
    def own(cells: Cells) -> Cells:
        kept = cells.where(cells.people == person)
        return kept._replace(people=np.zeros(len(kept.people), np.int64))

    covisitation, frequency = own(known.covisitation), own(known.frequency)
    row: IntVector = np.array([person])
    return Known(known.basis, own(known.interest), known.vectors[row], covisitation, frequency, known.weights[row])


def test_the_main_source_is_the_one_that_brought_most() -> None:
    known = known_people(5, 200, kind="distinct", weights=(0.1, 1.0, 1.0, 0.01, 0.01))

    listed = known.best(10, None)

    parts = known.split(np.arange(PEOPLE)[:, None], listed.items)
    assert parts.sum(axis=0) == pytest.approx(listed.scores, abs=1e-12)
    assert (parts.argmax(axis=0) == listed.mains).all()
    assert {"covisitation", "frequency"} <= {SOURCES[place] for place in listed.mains.ravel().tolist()}
