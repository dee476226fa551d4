"""Fold-in: a person's factor from their history, the item factors held fixed (implicit ALS). numpy only.

With ``G = Y'Y + λI``, ``Z = Y G⁻¹``, confidences ``c`` of the seen items h, ``D = diag(c - 1)`` and
``S = Zh Yh'``, the normal equations ``(G + Yh' D Yh) x = Yh' c`` have, by Woodbury's identity, the solution
``x = Zh' w`` with ``(I + D S) w = c``: a system of the history's size, not of the rank's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from afterclick.errors import FoldInError

FloatVector = npt.NDArray[np.floating[Any]]
FloatMatrix = npt.NDArray[np.floating[Any]]
IntVector = npt.NDArray[np.int64]
_CELLS = 2_000_000  # numbers in one stack of systems: bounds memory at 16 MB


@dataclass(frozen=True)
class FoldInBasis:
    """What depends on the model only, computed once a version.

    Parameters
    ----------
    item_factors : shape (n_items, rank)
        Y.
    projected : shape (n_items, rank)
        ``Z = Y G⁻¹``.
    gram : shape (rank, rank)
        ``G = Y'Y + λI``.
    """

    item_factors: FloatMatrix
    projected: FloatMatrix
    gram: FloatMatrix


def prepare_basis(item_factors: npt.NDArray[np.float32], *, regularization: float) -> FoldInBasis:
    """Return the basis for a model's item factors; cost O(n_items · rank²)."""
    factors = item_factors.astype(np.float64)
    gram = factors.T @ factors + regularization * np.eye(factors.shape[1])
    return FoldInBasis(factors, np.linalg.solve(gram, factors.T).T, gram)


def solve_user_factor(confidence: FloatVector, seen_factors: FloatMatrix, gram: FloatMatrix) -> FloatVector:
    """Solve for one user's factor, written like the formula; `fold_in_users` is the fast one.

    Parameters
    ----------
    confidence : shape (n_seen,)
        ``alpha * weight`` per seen item.
    seen_factors : shape (n_seen, rank)
        Factors of the seen items, in the same order.
    gram : shape (rank, rank)
        ``Y.T @ Y + regularization * I`` over *all* items.

    Raises
    ------
    FoldInError
        If `confidence` and `seen_factors` disagree in length.

    References
    ----------
    Hu, Koren, Volinsky (2008), eq. 4; scaling of confidence and lambda: implicit 0.7, ``_als.pyx``.
    """
    if len(confidence) != len(seen_factors):
        raise FoldInError(f"{len(confidence)} confidences for {len(seen_factors)} item factors")
    matrix = gram + seen_factors.T @ np.diag(confidence - 1) @ seen_factors
    return np.linalg.solve(matrix, seen_factors.T @ confidence)


def fold_in_users(basis: FoldInBasis, indptr: IntVector, indices: IntVector, confidence: FloatVector) -> FloatMatrix:
    """Solve for many users' factors at once.

    Parameters
    ----------
    indptr : shape (n_users + 1,)
        User u's items are ``indices[indptr[u]:indptr[u + 1]]``, each item once (CSR).
    indices, confidence : shape (n_interactions,)
        Row of the item in the basis, and ``alpha * weight``.

    Returns
    -------
    ndarray, shape (n_users, rank)
        Zeros for a user without items.

    Raises
    ------
    FoldInError
        If the arrays disagree in length.

    Notes
    -----
    Users of equal history length h share one stack of systems: O(h² rank + h³) a user, or O(h rank² + rank³)
    where the history is longer than half the rank.
    """
    if len(indices) != len(confidence) or indptr[-1] != len(indices):
        raise FoldInError(f"{len(indices)} items, {len(confidence)} confidences, indptr ends at {indptr[-1]}")
    rank = basis.item_factors.shape[1]
    lengths = np.diff(indptr)
    factors = np.zeros((len(lengths), rank))
    for length in np.unique(lengths[lengths > 0]).tolist():
        users = np.flatnonzero(lengths == length)
        solve = _solve_short if length <= rank // 2 else _solve_long
        step = max(1, _CELLS // max(length * length, length * rank))
        for begin in range(0, len(users), step):
            some = users[begin : begin + step]
            places = indptr[some][:, None] + np.arange(length)
            factors[some] = solve(basis, indices[places], confidence[places])
    return factors


def contributions(basis: FoldInBasis, items: IntVector, indices: IntVector, confidence: FloatVector) -> FloatMatrix:
    """Split each score into what every past item brought; rows sum to the scores.

    Parameters
    ----------
    items : shape (n_items,)
        Listed items.
    indices, confidence : shape (n_seen,)
        One user's history as in `fold_in_users`.

    Returns
    -------
    ndarray, shape (n_items, n_seen)

    References
    ----------
    Hu, Koren, Volinsky (2008), section 5, eq. 7.
    """
    if len(indices) > basis.item_factors.shape[1] // 2:  # as in `fold_in_users`: the smaller of the two systems
        seen = basis.item_factors[indices]
        matrix = basis.gram + (seen.T * (confidence - 1)) @ seen
        return np.linalg.solve(matrix, basis.item_factors[items].T).T @ seen.T * confidence
    system = _system(basis, indices[None, :], confidence[None, :])[0]
    similarity = basis.item_factors[items] @ basis.projected[indices].T
    return np.linalg.solve(system.T, similarity.T).T * confidence


def _solve_short(basis: FoldInBasis, items: IntVector, confidence: FloatVector) -> FloatMatrix:
    weights = np.linalg.solve(_system(basis, items, confidence), confidence[..., None])
    return (weights.transpose(0, 2, 1) @ basis.projected[items])[:, 0, :]


def _system(basis: FoldInBasis, items: IntVector, confidence: FloatVector) -> FloatMatrix:
    """``I + D S`` for a stack of users of equal history length."""
    similarity = basis.projected[items] @ basis.item_factors[items].transpose(0, 2, 1)
    return np.eye(items.shape[1]) + (confidence - 1)[..., None] * similarity


def _solve_long(basis: FoldInBasis, items: IntVector, confidence: FloatVector) -> FloatMatrix:
    seen = basis.item_factors[items]
    transposed = seen.transpose(0, 2, 1)
    matrices = basis.gram + transposed @ ((confidence - 1)[..., None] * seen)
    return np.linalg.solve(matrices, transposed @ confidence[..., None])[..., 0]
