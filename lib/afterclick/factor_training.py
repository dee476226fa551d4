"""Models over an event log's catalogue, trained on its first events; hyper-parameters chosen on held-out events."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from afterclick.blend import share_of_best
from afterclick.event_logs import EventLog
from afterclick.fold_in import prepare_basis
from afterclick.replayed_sources import TrainedFactors
from afterclick.setting_sections import ModelSettings
from afterclick.training import fit_item_factors

_LATER_ITERATIONS = 3
"""Sweeps of a midnight's retraining, which begins with the factors of the night before."""


@dataclass(frozen=True)
class FactorTrainer:
    """Trains on a log's first events; `is_train` leaves some of them out."""

    log: EventLog
    settings: ModelSettings
    threads: int = 0
    is_train: npt.NDArray[np.bool_] | None = None

    def __call__(self, position: int, before: TrainedFactors | None) -> TrainedFactors:
        """Return the model of the first `position` events."""
        weights = self.weights(position)
        popularity = np.asarray(weights.sum(axis=0), np.float64).ravel()
        is_known = popularity > 0
        start = self._start(before, is_known) if before else None
        iterations = _LATER_ITERATIONS if before else None
        factors = fit_item_factors(weights, self.settings, start=start, iterations=iterations, threads=self.threads)
        basis = prepare_basis(factors * is_known[:, None], regularization=self.settings.regularization)
        return TrainedFactors(
            basis, self.settings.alpha, self.settings.weight_power, share_of_best(popularity), is_known
        )

    def weights(self, position: int) -> csr_matrix:
        """Return people × items of the first `position` events."""
        chosen = np.arange(position) if self.is_train is None else np.flatnonzero(self.is_train[:position])
        log = self.log
        shape = (len(log.user_ids), len(log.item_ids))
        weights = csr_matrix((log.weights[chosen].astype(np.float32), (log.users[chosen], log.items[chosen])), shape)
        weights.data **= np.float32(self.settings.weight_power)
        return weights

    def _start(self, before: TrainedFactors, is_known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        start = before.basis.narrow.copy()
        fresh = is_known & ~before.is_known
        start[fresh] = np.random.default_rng(self.settings.seed).random((int(fresh.sum()), start.shape[1])) * 0.01
        return start


def settings_to_try(settings: ModelSettings) -> Iterator[ModelSettings]:
    """Yield the grid of hyper-parameters, the given ones first."""
    yield settings
    for rank, regularization, alpha, power in (
        (settings.rank, settings.regularization, settings.alpha, 0.5),
        (32, 20.0, 2.0, 0.5),
        (64, 30.0, 2.0, 0.5),
        (128, 30.0, 2.0, 0.5),
        (128, 10.0, 1.0, 0.5),
        (64, 50.0, 8.0, 0.5),
        (128, 3.0, 1.0, 0.5),
    ):
        changed = {"rank": rank, "regularization": regularization, "alpha": alpha, "weight_power": power}
        yield settings.model_copy(update=changed)
