"""Users folded in a second, over the history lengths of real shoppers, against implicit's `recalculate_user`.

Both on one thread, both to double precision, the same histories and item factors: those of a model, so in single precision.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from afterclick.benchmarks.interleaved import compare
from afterclick.benchmarks.shoppers import purchases
from afterclick.fold_in import fold_in_users, prepare_basis

REGULARIZATION, ALPHA, ITERATIONS = 0.05, 10.0, 3


def measure(
    *, announce: Callable[[str], None], ranks: Sequence[int] = (64, 128), most: int = 200, runs: int = 7
) -> dict[str, Any]:
    """Return the figures by rank; `ratio` is the smallest, `difference` the largest relative one of all vectors.

    Parameters
    ----------
    most
        Items of a history at most, as `recommendations.history_length` keeps.
    """
    histories = purchases(most=most)
    lengths = np.diff(histories.indptr)
    with threadpool_limits(1):
        by_rank = {rank: _measure(histories, rank, runs, announce) for rank in ranks}
        by_length = {
            f"{low}-{high}": _measure(histories[(lengths >= low) & (lengths <= high)], ranks[0], runs, announce)
            for low, high in ((1, 10), (11, 32), (33, 100), (101, most))
            if ((lengths >= low) & (lengths <= high)).any()
        }
    slowest = min(by_rank.values(), key=lambda figures: figures["ratio"])
    return {
        "measured": slowest["measured_s"],
        "ratio": slowest["ratio"],
        "difference": max(figures["difference"] for figures in by_rank.values()),
        "baseline": "implicit recalculate_user, one thread, float64",
        "users": len(lengths),
        "history_length": {f"p{p}": int(np.percentile(lengths, p)) for p in (10, 50, 90)},
        "by_rank": by_rank,
        "by_history_length": by_length,
    }


def _measure(histories: csr_matrix, rank: int, runs: int, announce: Callable[[str], None]) -> dict[str, Any]:
    announce(f"{histories.shape[0]:,} users, rank {rank}: {runs} runs of each")
    als = AlternatingLeastSquares(
        factors=rank,
        regularization=REGULARIZATION,
        alpha=ALPHA,
        iterations=ITERATIONS,
        use_cg=False,
        dtype=np.float64,
        num_threads=1,
        random_state=1,
    )
    als.fit(histories, show_progress=False)
    als.item_factors = als.item_factors.astype(np.float32).astype(np.float64)  # as a model stores them
    als._YtY = None  # noqa: SLF001 - of the factors before
    als.YtY  # noqa: B018 - computed once a model there too
    basis = prepare_basis(als.item_factors, regularization=REGULARIZATION)
    users = np.arange(histories.shape[0])
    indptr, indices = histories.indptr.astype(np.int64), histories.indices.astype(np.int64)
    confidence = ALPHA * histories.data.astype(np.float64)

    def ours() -> npt.NDArray[np.floating[Any]]:
        return fold_in_users(basis, indptr, indices, confidence)

    def theirs() -> Any:
        return als.recalculate_user(users, histories)

    expected = theirs()
    gap = np.linalg.norm(ours() - expected, axis=1) / np.maximum(np.linalg.norm(expected, axis=1), 1e-12)
    figures = compare(ours, theirs, runs=runs)
    return figures | {
        "users_per_s": round(histories.shape[0] / figures["measured_s"]),
        "difference": float(f"{gap.max():.2g}"),
    }
