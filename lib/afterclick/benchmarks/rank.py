"""From histories to the best 20 items over small and large catalogues, against the plain way in numpy and implicit.

Twice: items that are all about equally popular, the worst case for a search by length, and a simulated shop with a long tail.

`measured` is all a batch does for its people: fold-in, the blend's dense part, top 20. The first baseline is the
matrix product and `argpartition` alone on vectors that are already there; the second implicit's `topk` on the same; the
third is implicit's own way from histories to lists, `recommend` with `recalculate_user`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.topk import topk
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from afterclick.benchmarks.interleaved import compare
from afterclick.benchmarks.long_tail import simulated_purchases
from afterclick.blend import share_of_best
from afterclick.fold_in import fold_in_users, prepare_basis
from afterclick.model_evidence import Known, ModelBasis
from afterclick.models import Model
from afterclick.sequences import Cells
from afterclick.setting_sections import ModelSettings

PEOPLE, SEEN, RANK, BEST = 64, 30, 64, 20
"""People of a micro-batch, items of each history, numbers of a vector, items of a list."""
_SWEEPS = 5
"""Of training, for the catalogue with a long tail, by conjugate gradients."""
_REGULARIZATION = float(ModelSettings.model_fields["regularization"].default)


class _Case(NamedTuple):
    """Factors, shape (n_items, RANK), and popularity of items, lambda, and the histories of `PEOPLE` as sparse rows."""

    factors: npt.NDArray[np.float32]
    shares: npt.NDArray[np.float64]
    regularization: float
    histories: csr_matrix


def measure(
    *, announce: Callable[[str], None], catalogues: Sequence[int] = (4_000, 40_000, 400_000), runs: int = 7
) -> dict[str, Any]:
    """Return the figures by catalogue, `by_items` and `long_tail_by_items`; `ratio` is the smallest against numpy."""
    with threadpool_limits(1):
        even = {items: _measure(_even(items), f"{items:,} items", runs, announce) for items in catalogues}
        tail = {items: _measure(_long_tail(items), f"{items:,}, long tail", runs, announce) for items in catalogues}
    slowest = min(
        (figures["numpy"] for kind in (even, tail) for figures in kind.values()), key=lambda figures: figures["ratio"]
    )
    return {
        "measured": slowest["measured_s"],
        "ratio": slowest["ratio"],
        "baseline": "GEMM + argpartition in numpy; implicit topk; implicit recommend of histories; one thread",
        "people": PEOPLE,
        "by_items": even,
        "long_tail_by_items": tail,
    }


def _even(items: int) -> _Case:
    """Return items that are all about as long, and people who like any: no search can leave items out."""
    draw = np.random.default_rng(1)
    factors = (draw.normal(size=(items, RANK)) / 8).astype(np.float32)
    shares = draw.random(items)
    indices = np.concatenate([np.sort(draw.choice(items, SEEN, replace=False)) for _ in range(PEOPLE)])
    confidence = 1 + draw.random(len(indices)) * 9
    return _Case(factors, shares, 0.05, _rows(confidence, indices, items))


def _long_tail(items: int) -> _Case:
    """Return factors trained with the default lambda and alpha of the settings, and the first people with `SEEN` products."""
    bought = simulated_purchases(items, max(items // 2, 2_000))
    als = AlternatingLeastSquares(factors=RANK, regularization=_REGULARIZATION, iterations=_SWEEPS, random_state=1)
    als.fit(bought, show_progress=False)
    shares = share_of_best(np.asarray(bought.sum(axis=0), np.float64).ravel())
    people = np.flatnonzero(np.diff(bought.indptr) >= SEEN)[:PEOPLE]
    cells = (bought.indptr[people][:, None] + np.arange(SEEN)).ravel()
    rows = _rows(bought.data[cells].astype(float), bought.indices[cells], items)
    return _Case(als.item_factors, shares, _REGULARIZATION, rows)


def _rows(confidence: npt.NDArray[np.float64], indices: npt.NDArray[np.int64], items: int) -> csr_matrix:
    return csr_matrix((confidence, indices, np.arange(PEOPLE + 1) * SEEN), shape=(PEOPLE, items))


def _measure(case: _Case, name: str, runs: int, announce: Callable[[str], None]) -> dict[str, Any]:
    announce(f"{name}: {runs} runs of each")
    factors, shares, histories = case.factors, case.shares, case.histories
    basis, ids = prepare_basis(factors, regularization=case.regularization), np.arange(len(factors)).astype(str)
    model = Model("v1", ids, factors, shares, case.regularization, 1.0, {}, "")
    with_shares = ModelBasis(model, basis, shares, shares)
    indptr, indices = histories.indptr.astype(np.int64), histories.indices.astype(np.int64)
    confidence = histories.data
    none = Cells(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    weights = np.tile([1.0, 0.0, 0.0, 0.1, 0.0], (PEOPLE, 1))
    transposed = np.ascontiguousarray(factors.T)
    vectors = fold_in_users(basis, indptr, indices, confidence).astype(np.float32)

    def ours() -> npt.NDArray[np.int64]:
        folded = fold_in_users(basis, indptr, indices, confidence)
        return Known(with_shares, none, folded, none, none, weights).best(BEST, None).items

    def plain() -> npt.NDArray[np.int64]:
        return np.asarray(np.argpartition(-(vectors @ transposed), BEST, axis=1)[:, :BEST])

    def library() -> Any:
        return topk(factors, vectors, BEST, num_threads=1)

    als = AlternatingLeastSquares(factors=RANK, regularization=case.regularization, num_threads=1)
    als.item_factors = factors
    als.YtY  # noqa: B018 - computed once a model, as our basis is

    def from_histories() -> Any:
        return als.recommend(
            np.arange(PEOPLE), histories, BEST, filter_already_liked_items=False, recalculate_user=True
        )

    return {
        "numpy": compare(ours, plain, runs=runs),
        "implicit": compare(ours, library, runs=runs),
        "implicit_recommend": compare(ours, from_histories, runs=runs),
    }
