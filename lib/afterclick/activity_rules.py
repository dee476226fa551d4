"""How often someone or something was active of late: counts in windows and with decay. numpy only."""

import numpy as np
import numpy.typing as npt

from afterclick.sorted_groups import IntVector, part_bounds, search_within

SEEN, VIEW, CART, REMOVAL, PAGE, OTHER, WITHDRAWAL, PURCHASE = range(-1, 7)
"""Kinds of events. `SEEN` only says that the person was there; at equal times a purchase comes last.
`WITHDRAWAL` is an event without consent to personalisation: nothing before it counts any more."""
KINDS = {
    "view": VIEW, "cart": CART, "remove_from_cart": REMOVAL, "page": PAGE, "screen": PAGE, "purchase": PURCHASE,
}  # fmt: skip
COUNTED = {"views": VIEW, "carts": CART, "removals": REMOVAL, "purchases": PURCHASE, "pages": PAGE, "events": None}
WINDOWS = {"30m": 1_800_000_000, "2h": 7_200_000_000, "24h": 86_400_000_000}
"""Windows of the aggregates in microseconds: an event exactly one window old does not count any more."""
HALF_LIFE_US = WINDOWS["2h"]
VARIABLES = tuple(f"{name}_{window}" for name in COUNTED for window in (*WINDOWS, "decayed"))
"""Names in a condition; ``<name>_decayed`` is the sum of ``2 ** -(age / 2 h)`` over the last 24 h."""


def count_recent(
    at: IntVector, kind: IntVector, group: IntVector, asked: IntVector, variable: str
) -> npt.NDArray[np.float64]:
    """Return an aggregate of `VARIABLES` at each asked row, the row itself and those of the same time included.

    Parameters
    ----------
    at, kind, group
        Rows sorted by group and time.

    Notes
    -----
    A window of length w at time t counts events in (t - w, t]. ``<name>_decayed`` is
    ``sum(2 ** -((t - t_i) / HALF_LIFE_US))`` over the events in the last 24 h.
    """
    name, window = variable.rsplit("_", 1)
    counts = np.ones(len(at), bool) if COUNTED[name] is None else kind == COUNTED[name]
    span = WINDOWS.get(window, WINDOWS["24h"])
    first, beyond = (bound[asked] for bound in part_bounds(group))
    begin = search_within(at, first, asked, at[asked] - span, after_equal=True)
    end = search_within(at, asked, beyond, at[asked], after_equal=True)
    if window == "decayed":
        weights = [
            np.exp2((at[b:e] - at[r]) / HALF_LIFE_US)[counts[b:e]] for b, e, r in zip(begin, end, asked, strict=True)
        ]
        return np.array([part.sum() for part in weights])
    running = np.concatenate([[0], np.cumsum(counts)])
    return (running[end] - running[begin]).astype(np.float64)
