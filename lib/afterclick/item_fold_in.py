"""Items that a model does not know: folded in from the people who had them, all other factors held fixed. numpy only.

Implicit ALS treats people and items alike: with X the factors of all people, an item's factor solves the same equations as
a person's does with those of the items.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from afterclick.fold_in import fold_in_users, prepare_basis
from afterclick.models import Model
from afterclick.training import Training


def extend_model(
    model: Model, weights: csr_matrix, item_ids: npt.NDArray[np.str_], *, version: str, trained_at: str
) -> Training:
    """Return the model with the items it lacked, and with everybody's popularity as of now; known factors stay as they are.

    Parameters
    ----------
    weights : shape (n_people, n_items)
        Interaction weights of all people, before the power and `alpha`.
    item_ids : shape (n_items,)
        Of the columns, sorted.

    Notes
    -----
    An item that nobody had who also had a known one gets a factor of zeros: it is listed for its followers and its trend.
    Items without interactions keep their factors. The sources are the model's own: they fit its items no longer.
    """
    ids = np.union1d(model.item_ids, item_ids)
    known, found = np.searchsorted(ids, model.item_ids), np.searchsorted(ids, item_ids)
    popularity = np.zeros(len(ids))
    popularity[found] = np.asarray(weights.sum(axis=0), np.float64).ravel()
    powered = csr_matrix(
        (weights.data ** np.float32(model.weight_power), weights.indices, weights.indptr), weights.shape
    )
    factors = np.zeros((len(ids), model.item_factors.shape[1]), np.float32)
    factors[known] = model.item_factors
    is_new = ~np.isin(item_ids, model.item_ids)
    if is_new.any():
        held = factors[found[~is_new]]
        with threadpool_limits(1, "blas"):  # thousands of small systems: BLAS threads only wait for each other
            factors[found[is_new]] = fold_in_items(model, held, powered[:, ~is_new], powered[:, is_new])
    fresh = replace(
        model, version=version, item_ids=ids, item_factors=factors, popularity=popularity, trained_at=trained_at
    )
    columns = csr_matrix((powered.data, found[powered.indices], powered.indptr), (powered.shape[0], len(ids)))
    return Training(fresh, columns)


def fold_in_items(
    model: Model, held: npt.NDArray[np.float32], known: csr_matrix, fresh: csr_matrix
) -> npt.NDArray[np.float32]:
    """Solve for the factors of new items.

    Parameters
    ----------
    held : shape (n_known, rank)
        Factors of the known items; the basis of people is made of all of the model's.
    known : shape (n_people, n_known)
        Weights to the power of ``weight_power``, before `alpha`.
    fresh : shape (n_people, n_fresh)
        The same of the new items.

    Returns
    -------
    ndarray, shape (n_fresh, rank)

    References
    ----------
    Hu, Koren, Volinsky (2008), section 4, the second of the two steps (items); `implicit`'s ``recalculate_item``.
    """
    items = prepare_basis(model.item_factors, regularization=model.regularization)
    items = replace(items, item_factors=held.astype(np.float64), narrow=held, whitened=held @ items.root.T)
    people = fold_in_users(items, known.indptr, known.indices, model.alpha * known.data.astype(np.float64))
    by_item = fresh.T.tocsr()
    basis = prepare_basis(people.astype(np.float32), regularization=model.regularization)
    found = fold_in_users(basis, by_item.indptr, by_item.indices, model.alpha * by_item.data.astype(np.float64))
    return found.astype(np.float32)
