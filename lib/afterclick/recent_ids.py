"""The ids of the events received within the last hours, as hashes: who is not here was certainly not stored.

Eight bytes an event, in one sorted array for each hour of receipt. Two ids may share a hash, so a hit is only a reason
to look into the tables; the hours of the hits say where (docs/decisions/0054-known-ids.md).
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

HOUR_US = 3_600_000_000


class RecentIds:
    """Hashes of ids by hour of receipt (hours since the epoch).

    Parameters
    ----------
    since_hour
        What was received before is not here.
    """

    def __init__(self, since_hour: int) -> None:
        self.since_hour = since_hour
        self._by_hour: dict[int, Ints] = {}

    def __len__(self) -> int:
        """Return the number of hashes."""
        return sum(map(len, self._by_hour.values()))

    def add(self, hashes: Ints, hours: Ints) -> None:
        """Take ids in; cost is linear in what is held of their hours."""
        for hour in np.unique(hours[hours >= self.since_hour]):
            merged = np.concatenate([self._by_hour.get(int(hour), hashes[:0]), hashes[hours == hour]])
            merged.sort(kind="stable")  # merges sorted runs
            self._by_hour[int(hour)] = merged

    def find(self, hashes: Ints) -> tuple[Flags, tuple[int, int] | None]:
        """Tell which ids may be here, and the first and last hour in which one of them may have been received."""
        order = np.argsort(hashes, kind="stable")
        in_order = hashes[order]
        is_met, hours = np.zeros(len(hashes), np.bool_), []
        for hour, held in self._by_hour.items():
            places = np.searchsorted(held, in_order)
            is_here = held[np.minimum(places, len(held) - 1)] == in_order
            if is_here.any():
                is_met |= is_here
                hours.append(hour)
        found = np.zeros(len(hashes), np.bool_)
        found[order] = is_met
        return found, (min(hours), max(hours)) if hours else None

    def forget_before(self, hour: int) -> None:
        """Drop what was received before an hour."""
        if hour > self.since_hour:
            self.since_hour = hour
            self._by_hour = {at: held for at, held in self._by_hour.items() if at >= hour}
