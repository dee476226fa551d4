"""Interaction weights -> item factors by Spark's own ALS, ``pyspark.ml.recommendation``, in the session that runs.

The factors are used like implicit's: fold-in, manifest and gates are the same (docs/decisions/0044-mllib.md).
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.errors import PySparkRuntimeError
from pyspark.ml.recommendation import ALS
from pyspark.sql import SparkSession
from scipy.sparse import csr_matrix

from afterclick.errors import ModelError
from afterclick.setting_sections import ModelSettings

_LEAST_RATING = 1e-6
"""A rating of 0 would be no preference at all to Spark."""
_CHECKPOINT_EVERY = 5
"""Sweeps between two cuts of the lineage: one of twenty sweeps now and then overflows the stack that serialises it."""


def fit_item_factors(
    weights: csr_matrix, settings: ModelSettings, *, iterations: int | None = None
) -> npt.NDArray[np.float32]:
    """Return item factors, shape (n_items, rank); zeros for items without interactions.

    Parameters
    ----------
    weights : shape (n_users, n_items)
        Before `alpha`.

    Raises
    ------
    ModelError
        If no Spark session runs in this process, or it has no checkpoint folder.

    Notes
    -----
    Spark's confidence is ``1 + alpha * rating``, ours ``alpha * weight``: ratings of ``alpha * weight - 1`` under Spark's
    alpha of 1 make them equal. Spark multiplies lambda by a row's number of interactions, ours is plain: divided by the
    mean number a person has, both are equal for the average person.
    """
    spark = _running_session()
    cells = weights.tocoo()
    ratings = np.maximum(settings.alpha * cells.data.astype(np.float64) - 1, _LEAST_RATING)
    rows = pa.table(
        {"user": cells.row.astype(np.int32), "item": cells.col.astype(np.int32), "rating": ratings.astype(np.float32)}
    )
    active = len(np.unique(cells.row))
    blocks = spark.sparkContext.defaultParallelism
    als = ALS(
        rank=settings.rank,
        maxIter=iterations or settings.iterations,
        regParam=settings.regularization * active / weights.nnz,
        alpha=1.0,
        implicitPrefs=True,
        seed=settings.seed,
        numUserBlocks=blocks,
        numItemBlocks=blocks,
        checkpointInterval=_CHECKPOINT_EVERY,
    )
    found = als.fit(spark.createDataFrame(rows)).itemFactors.toArrow()
    factors = np.zeros((weights.shape[1], settings.rank), np.float32)
    flat = found["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    factors[found["id"].to_numpy()] = flat.reshape(-1, settings.rank)
    return factors


def _running_session() -> SparkSession:
    try:
        spark = SparkSession.active()
    except PySparkRuntimeError as error:
        message = (
            "the backend is mllib but this process has no Spark session: train with the job train_model, evaluate with "
            "`afterclick evaluate --backend mllib --workers 1` (more workers are processes without Spark)"
        )
        raise ModelError(message) from error
    if spark.sparkContext.getCheckpointDir() is None:
        message = "the backend mllib needs a folder to cut its lineage: call spark.sparkContext.setCheckpointDir first"
        raise ModelError(message)
    return spark
