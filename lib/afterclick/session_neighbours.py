"""Session neighbours (V-SKNN): a baseline for click sessions, which `evaluate next` reports beside our models.

References
----------
Ludewig, Jannach (2018), "Evaluation of session-based recommendation algorithms", section 3.2.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from afterclick.event_logs import EventLog
from afterclick.sequences import Sequences, sum_cells

NEIGHBOURS = 100
"""Most similar past sessions that vote."""


class SessionNeighbours:
    """Past sessions of a log's first events."""

    def __init__(self, log: EventLog, count: int) -> None:
        cells = sum_cells(log.users[:count], log.items[:count], np.ones(count))
        shape = (len(log.user_ids), len(log.item_ids))
        self._sessions = csr_matrix((np.ones(len(cells.items)), (cells.people, cells.items)), shape)
        sizes = np.maximum(np.asarray(self._sessions.sum(axis=1)).ravel(), 1)
        frequencies = np.asarray(self._sessions.sum(axis=0)).ravel()
        self._idf = np.log(max((sizes > 0).sum(), 1) / np.maximum(frequencies, 1))
        self._lengths = np.sqrt(sizes)

    def score(self, sequences: Sequences) -> npt.NDArray[np.floating[Any]]:
        """Return scores over the catalogue: votes of the sessions most like each prefix, newer items weighing more."""
        n_people, n_items = len(sequences.indptr) - 1, self._sessions.shape[1]
        sizes = np.diff(sequences.indptr)[sequences.people]
        cells = sum_cells(sequences.people, sequences.items, (sizes - sequences.ages) / sizes)
        prefixes = csr_matrix((cells.values, (cells.people, cells.items)), (n_people, n_items))
        likeness = (prefixes @ self._sessions.T).toarray() / self._lengths
        kept = min(NEIGHBOURS, likeness.shape[1])
        best = np.argpartition(-likeness, kept - 1, axis=1)[:, :kept]
        votes = np.take_along_axis(likeness, best, axis=1)
        rows = np.repeat(np.arange(n_people), kept)
        voters = csr_matrix((votes.ravel(), (rows, best.ravel())), likeness.shape)
        return np.asarray((voters @ self._sessions).toarray() * (1 + self._idf))
