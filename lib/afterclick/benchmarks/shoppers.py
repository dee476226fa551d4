"""Real purchases for benchmarks: the households of Complete Journey, as the demo reads them."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from afterclick.local.complete_journey import read_lines


def purchases(*, most: int) -> csr_matrix:
    """Return households × products with the number of purchases, float32; each household's last `most` products."""
    lines = read_lines()
    bought = lines.groupby(["subject_id", "item_id"]).agg(times=("item_id", "size"), last=("event_at", "max"))
    bought = bought.sort_values("last", kind="stable").groupby("subject_id").tail(most).reset_index()
    users: npt.NDArray[np.int64] = np.unique(bought["subject_id"], return_inverse=True)[1]
    items: npt.NDArray[np.int64] = np.unique(bought["item_id"], return_inverse=True)[1]
    matrix = csr_matrix((bought["times"].to_numpy(np.float32), (users, items)))
    matrix.sort_indices()
    return matrix
