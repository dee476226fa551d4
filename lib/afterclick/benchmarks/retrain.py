"""The training job's time without reading, against implicit's `fit` on the same matrix.

`measured` is `training.train` (ids to rows, weights, fit, model); the blend's tuning is given apart.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from afterclick.benchmarks.interleaved import compare
from afterclick.benchmarks.shoppers import purchases
from afterclick.setting_sections import ModelSettings
from afterclick.training import train


def measure(settings: ModelSettings, *, announce: Callable[[str], None], runs: int = 5) -> dict[str, Any]:
    """Return the figures; `ratio` is raw time over ours, so 1 is as fast."""
    matrix = purchases(most=10_000)
    announce(
        f"{matrix.nnz:,} interactions, rank {settings.rank}, {settings.iterations} iterations: {runs} runs of each"
    )
    rows, items = matrix.nonzero()
    table = pa.table(
        {
            "subject_id": np.char.add("household-", rows.astype(str)),
            "item_id": np.char.add("product-", items.astype(str)),
            "weight": matrix.data.astype(np.float64),
        }
    )

    def ours() -> Any:
        return train(table, settings, version="bench", trained_at="", event_weights={"purchase": 1.0}).model

    def raw() -> Any:
        with threadpool_limits(1, "blas"):
            als = AlternatingLeastSquares(
                factors=settings.rank,
                regularization=settings.regularization,
                alpha=settings.alpha,
                iterations=settings.iterations,
                random_state=settings.seed,
                use_cg=False,
                num_threads=0,
            )
            als.fit(matrix, show_progress=False)
            return als.item_factors

    compared = compare(ours, raw, runs=runs)
    return compared | {"measured": compared["measured_s"], "baseline": "implicit fit", "interactions": int(matrix.nnz)}
