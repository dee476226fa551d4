"""Fold-in: a person's factor from their history, the item factors held fixed (implicit ALS). numpy only.

With ``G = Y'Y + λI = R R'`` (Cholesky), ``W = Y R⁻ᵀ``, confidences ``c`` of the seen items h, ``D = diag(c - 1)`` and
``S = Wh Wh' = Yh G⁻¹ Yh'``, the normal equations ``(G + Yh' D Yh) x = Yh' c`` have, by Woodbury's identity, the solution
``x = R⁻ᵀ Wh' w`` with ``(I + D S) w = c``: a system of the history's size, not of the rank's, from one gather of rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dposv, sposv, spotrs

from afterclick.errors import FoldInError

FloatVector = npt.NDArray[np.floating[Any]]
FloatMatrix = npt.NDArray[np.floating[Any]]
IntVector = npt.NDArray[np.int64]
_CELLS = 200_000  # numbers in one stack of systems: 1.6 MB
_SYMMETRIC = 65  # unknowns from which a loop over Cholesky's solutions is faster than a stack of general ones
_LONG = 0.8  # length of a history, as a share of the rank, from which the rank's system is the faster one
_SURE = 1e-4  # a correction smaller than this share of the vector leaves about its square as error
_STEP = 4  # histories are filled up to a multiple of it, so that few stacks hold them all


@dataclass(frozen=True)
class FoldInBasis:
    """What depends on the model only, computed once a version.

    Parameters
    ----------
    item_factors : shape (n_items, rank)
        Y.
    narrow : shape (n_items, rank)
        Y as the model stores it, in single precision: the same numbers.
    whitened : shape (n_items, rank)
        ``W = Y R⁻ᵀ``.
    gram : shape (rank, rank)
        ``G = Y'Y + λI = R R'``.
    root : shape (rank, rank)
        ``R⁻¹``, lower triangular.
    """

    item_factors: FloatMatrix
    narrow: npt.NDArray[np.float32]
    whitened: FloatMatrix
    gram: FloatMatrix
    root: FloatMatrix


def prepare_basis(item_factors: npt.NDArray[np.float32], *, regularization: float) -> FoldInBasis:
    """Return the basis for a model's item factors; cost O(n_items · rank²)."""
    narrow = item_factors.astype(np.float32)
    factors = narrow.astype(np.float64)
    gram = factors.T @ factors + regularization * np.eye(factors.shape[1])
    root = np.linalg.inv(np.linalg.cholesky(gram))
    return FoldInBasis(factors, narrow, factors @ root.T, gram, root)


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
        If the arrays disagree in length, or an item is none of the model's.

    Notes
    -----
    Users of about equal history length h share one stack of systems: O(h² rank + h³) a user, or O(h rank² + rank³)
    where the history is about as long as the rank or longer. Shorter ones are filled up with items of confidence 0
    whose ``c - 1`` is taken as 0: they add a row ``w = 0`` to the first system and nothing to the second.
    """
    if len(indices) != len(confidence) or indptr[-1] != len(indices):
        raise FoldInError(f"{len(indices)} items, {len(confidence)} confidences, indptr ends at {indptr[-1]}")
    count, rank = basis.item_factors.shape
    if len(indices) and not 0 <= indices.min() <= indices.max() < count:
        raise FoldInError(f"item rows {indices.min()} to {indices.max()} of a model with {count} items")
    lengths = np.diff(indptr)
    filled = -(-lengths // _STEP) * _STEP
    factors = np.zeros((len(lengths), rank))
    for length in np.unique(filled[lengths > 0]).tolist():
        users = np.flatnonzero(filled == length)
        solve, unknowns = (_solve_short, length) if length < _LONG * rank else (_solve_long, rank)
        step = max(1, _CELLS // (unknowns * max(length, rank)))
        for begin in range(0, len(users), step):
            some = users[begin : begin + step]
            is_there = np.arange(length) < lengths[some][:, None]
            places = np.where(is_there, indptr[some][:, None] + np.arange(length), 0)
            known = np.where(is_there, confidence[places], 0.0)
            factors[some] = solve(basis, indices[places], known, np.where(is_there, known - 1, 0.0))
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
    if len(indices) > basis.item_factors.shape[1]:  # as in `fold_in_users`: the smaller of the two systems
        seen = basis.item_factors[indices]
        matrix = basis.gram + (seen.T * (confidence - 1)) @ seen
        return np.linalg.solve(matrix, basis.item_factors[items].T).T @ seen.T * confidence
    seen = basis.whitened[indices]
    system = _system(seen[None], confidence[None, :] - 1)[0]
    similarity = basis.whitened[items] @ seen.T
    return np.linalg.solve(system.T, similarity.T).T * confidence


def _solve_short(basis: FoldInBasis, items: IntVector, confidence: FloatVector, extra: FloatVector) -> FloatMatrix:
    seen = _rows(basis.whitened, items)
    if items.shape[1] >= _SYMMETRIC and extra.min() >= 0:
        return _solve_halves(seen, confidence, extra) @ basis.root
    weights = np.linalg.solve(_system(seen, extra), confidence[..., None])
    return (weights.transpose(0, 2, 1) @ seen)[:, 0, :] @ basis.root


def _solve_halves(seen: FloatMatrix, confidence: FloatVector, extra: FloatVector) -> FloatMatrix:
    """Return ``Wh' w``, where no confidence is below 1: with ``E² = D``, ``w = c - E v`` and ``(I + E S E) v = E S c``."""
    scaled = np.sqrt(extra)[..., None] * seen
    system = scaled @ scaled.transpose(0, 2, 1)
    _add_identity(system)
    whole = confidence[:, None, :] @ seen
    halves = _solve_definite(system, (whole @ scaled.transpose(0, 2, 1))[:, 0])
    return (whole - halves[:, None, :] @ scaled)[:, 0]


def _system(seen: FloatMatrix, extra: FloatVector) -> FloatMatrix:
    """``I + D S`` for a stack of users; `seen` are their rows of W, `extra` is the diagonal of D."""
    system = (extra[..., None] * seen) @ seen.transpose(0, 2, 1)
    _add_identity(system)
    return system


def _add_identity(systems: FloatMatrix) -> None:
    systems.reshape(len(systems), -1)[:, :: systems.shape[-1] + 1] += 1


def _solve_long(basis: FoldInBasis, items: IntVector, confidence: FloatVector, extra: FloatVector) -> FloatMatrix:
    """Solve in single precision, and once more for what was left, reckoned in double precision.

    References
    ----------
    Langou et al. (2006), "Exploiting the performance of 32 bit floating point arithmetic in obtaining 64 bit accuracy".
    """
    narrow = _rows(basis.narrow, items)
    seen = narrow.astype(np.float64)
    if extra.min() < 0:
        return _solve_exactly(basis, seen, confidence, extra)
    right = (confidence.astype(np.float32)[:, None, :] @ narrow)[:, 0]
    narrow *= np.sqrt(extra).astype(np.float32)[..., None]
    systems = narrow.transpose(0, 2, 1) @ narrow + basis.gram.astype(np.float32)
    pairs = zip(systems, right, strict=True)
    solved = [sposv(system.T, vector, lower=1, overwrite_a=1, overwrite_b=1)[:2] for system, vector in pairs]
    found = np.array([vector for _, vector in solved], np.float64)
    left = _weigh(seen, confidence - extra * (seen @ found[..., None])[..., 0]) - found @ basis.gram
    rests = zip(solved, left.astype(np.float32), strict=True)
    more = np.array([spotrs(root, rest, lower=1)[0] for (root, _), rest in rests], np.float64)
    found += more
    is_sure = np.linalg.norm(more, axis=1) <= _SURE * np.linalg.norm(found, axis=1)  # false for what is no number
    if not is_sure.all():
        found[~is_sure] = _solve_exactly(basis, seen[~is_sure], confidence[~is_sure], extra[~is_sure])
    return found


def _solve_exactly(basis: FoldInBasis, seen: FloatMatrix, confidence: FloatVector, extra: FloatVector) -> FloatMatrix:
    matrices = seen.transpose(0, 2, 1) @ (extra[..., None] * seen) + basis.gram
    return np.linalg.solve(matrices, _weigh(seen, confidence)[..., None])[..., 0]


def _weigh(seen: FloatMatrix, weights: FloatVector) -> FloatMatrix:
    """Return each user's weighted sum of rows."""
    return (weights[:, None, :] @ seen)[:, 0]


def _solve_definite(matrices: FloatMatrix, right: FloatMatrix) -> FloatMatrix:
    """Solve a stack of symmetric positive definite systems: by Cholesky, half the work of `numpy.linalg.solve`.

    numpy has it for no stack, so this is a loop; scipy's stack of them is slower than it.
    """
    pairs = zip(matrices, right, strict=True)
    return np.array([dposv(matrix.T, vector, lower=1, overwrite_a=1, overwrite_b=1)[1] for matrix, vector in pairs])


def _rows(matrix: FloatMatrix, items: IntVector) -> FloatMatrix:
    return np.take(matrix, items, axis=0, mode="clip")  # a third faster than an index; checked before
