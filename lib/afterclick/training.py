"""Interaction weights -> a model, by the ``implicit`` library's ALS or by Spark's (`mllib_training`)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from afterclick.errors import ModelError
from afterclick.models import Model
from afterclick.setting_sections import ModelSettings


@dataclass(frozen=True)
class Training:
    """A model and what it was trained on.

    Parameters
    ----------
    weights : shape (n_users, n_items)
        Interaction weights to the power of ``weight_power``, before `alpha`.
    """

    model: Model
    weights: csr_matrix


def train(
    interactions: pa.Table,
    settings: ModelSettings,
    *,
    version: str,
    trained_at: str,
    event_weights: Mapping[str, float],
) -> Training:
    """Train on rows of `schemas.INTERACTION_WEIGHT`; the same rows in any order give the same model.

    Raises
    ------
    ModelError
        If there are no interactions.

    Notes
    -----
    Exact solver, not conjugate gradients, so that fold-in and trainer solve the same equations.
    """
    weights, item_ids = as_matrix(interactions)
    popularity = np.asarray(weights.sum(axis=0), np.float64).ravel()
    weights.data **= np.float32(settings.weight_power)
    factors = fit_item_factors(weights, settings)
    model = Model(
        version=version,
        item_ids=item_ids,
        item_factors=factors,
        popularity=popularity,
        regularization=settings.regularization,
        alpha=settings.alpha,
        event_weights=dict(event_weights),
        trained_at=trained_at,
        weight_power=settings.weight_power,
    )
    return Training(model, weights)


def fit_item_factors(
    weights: csr_matrix,
    settings: ModelSettings,
    *,
    start: npt.NDArray[np.float32] | None = None,
    iterations: int | None = None,
    threads: int = 0,
) -> npt.NDArray[np.float32]:
    """Return item factors, shape (n_items, rank).

    Parameters
    ----------
    weights : shape (n_users, n_items)
        Before `alpha`.
    start
        Factors to go on from, as those of the night before.
    threads
        0 = one per core.

    Notes
    -----
    The backend ``mllib`` knows neither `start` nor `threads`.
    """
    if settings.backend == "mllib":
        from afterclick import mllib_training  # noqa: PLC0415 - Spark takes a second to import

        return mllib_training.fit_item_factors(weights, settings, iterations=iterations)
    with threadpool_limits(1, "blas"):  # implicit runs its own threads; BLAS threads only fight with them
        als = AlternatingLeastSquares(
            factors=settings.rank,
            regularization=settings.regularization,
            alpha=settings.alpha,
            iterations=iterations or settings.iterations,
            random_state=settings.seed,
            use_cg=False,
            num_threads=threads,
        )
        if start is not None:
            als.item_factors = start.copy()
            als.user_factors = np.zeros((weights.shape[0], settings.rank), np.float32)
        als.fit(weights, show_progress=False)
    return np.ascontiguousarray(als.item_factors, np.float32)


def as_matrix(interactions: pa.Table) -> tuple[csr_matrix, np.ndarray]:
    """Return people × items, both sorted by id, and the item ids."""
    if len(interactions) == 0:
        message = "there is nothing to train on: import history (`afterclick import`) or wait for events with consent"
        raise ModelError(message)
    subjects, users = _sorted_codes(interactions["subject_id"])
    item_ids, items = _sorted_codes(interactions["item_id"])
    weights = interactions["weight"].to_numpy().astype(np.float32)
    return csr_matrix((weights, (users, items)), shape=(len(subjects), len(item_ids))), item_ids


def _sorted_codes(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    """Return the distinct values in order and each row's place among them; only the distinct ones are sorted."""
    encoded = column.dictionary_encode().unify_dictionaries()
    values = encoded.chunk(0).dictionary.to_numpy(zero_copy_only=False).astype(str)
    order = np.argsort(values)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return values[order], places[np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])]
