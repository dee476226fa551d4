"""From histories to the best 20 items over small and large catalogues, against the plain way in numpy and implicit.

`measured` is all a batch does for its people: fold-in, the blend's dense part, top 20. The first baseline is the
matrix product and `argpartition` alone on vectors that are already there; the second implicit's `topk` on the same; the
third is implicit's own way from histories to lists, `recommend` with `recalculate_user`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.topk import topk
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from afterclick.benchmarks.interleaved import compare
from afterclick.fold_in import fold_in_users, prepare_basis
from afterclick.model_evidence import Known, ModelBasis
from afterclick.models import Model
from afterclick.sequences import Cells

PEOPLE, SEEN, RANK, BEST, REGULARIZATION = 64, 30, 64, 20, 0.05
"""People of a micro-batch, items of each history, numbers of a vector, items of a list, lambda."""


def measure(
    *, announce: Callable[[str], None], catalogues: Sequence[int] = (4_000, 40_000, 400_000), runs: int = 7
) -> dict[str, Any]:
    """Return the figures by catalogue; `ratio` is the smallest against numpy."""
    with threadpool_limits(1):
        by_items = {items: _measure(items, runs, announce) for items in catalogues}
    slowest = min((figures["numpy"] for figures in by_items.values()), key=lambda figures: figures["ratio"])
    return {
        "measured": slowest["measured_s"],
        "ratio": slowest["ratio"],
        "baseline": "GEMM + argpartition in numpy; implicit topk; implicit recommend of histories; one thread",
        "people": PEOPLE,
        "by_items": by_items,
    }


def _measure(items: int, runs: int, announce: Callable[[str], None]) -> dict[str, Any]:
    announce(f"{items:,} items: {runs} runs of each")
    draw = np.random.default_rng(1)
    factors = (draw.normal(size=(items, RANK)) / 8).astype(np.float32)
    basis, shares = prepare_basis(factors, regularization=REGULARIZATION), draw.random(items)
    model = Model("v1", np.arange(items).astype(str), factors, shares, REGULARIZATION, 1.0, {}, "")
    with_shares = ModelBasis(model, basis, shares, shares)
    indptr = np.arange(PEOPLE + 1, dtype=np.int64) * SEEN
    indices = np.concatenate([np.sort(draw.choice(items, SEEN, replace=False)) for _ in range(PEOPLE)])
    confidence = 1 + draw.random(len(indices)) * 9
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

    als = AlternatingLeastSquares(factors=RANK, regularization=REGULARIZATION, num_threads=1)
    als.item_factors = factors
    als.YtY  # noqa: B018 - computed once a model, as our basis is
    histories = csr_matrix((confidence, indices, indptr), shape=(PEOPLE, items))

    def from_histories() -> Any:
        return als.recommend(
            np.arange(PEOPLE), histories, BEST, filter_already_liked_items=False, recalculate_user=True
        )

    return {
        "numpy": compare(ours, plain, runs=runs),
        "implicit": compare(ours, library, runs=runs),
        "implicit_recommend": compare(ours, from_histories, runs=runs),
    }
