"""What was read of a person, and what they had, remembered for an hour: an outage must not show it again."""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from afterclick.connectors.redis_store import StoredHistory
from afterclick.list_records import TopList

KEPT_SECONDS = 3600.0


class PersonRead(NamedTuple):
    """A person's list and history; `seen` has the keys (`models.item_keys`) of what they had, None = nobody knows.

    `subject_id` is the pseudonym of somebody who is known and allows it.
    """

    top: TopList | None = None
    history: StoredHistory | None = None
    seen: frozenset[int] | None = frozenset()
    is_store_away: bool = False
    subject_id: str | None = None


class SeenMemory:
    """Remembers the keys of people's items.

    Parameters
    ----------
    size
        Most people; of more the oldest are forgotten.
    clock
        Monotonic seconds.
    """

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._size = size
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, frozenset[int]]] = OrderedDict()

    def keep(self, subject_id: str, seen: frozenset[int]) -> None:
        """Remember what a person had, in place of what was known before; forget what is older than `KEPT_SECONDS`."""
        now = self._clock()
        self._kept.pop(subject_id, None)
        self._kept[subject_id] = (now, seen)
        while self._kept and (len(self._kept) > self._size or now - next(iter(self._kept.values()))[0] > KEPT_SECONDS):
            self._kept.popitem(last=False)

    def recall(self, subject_id: str) -> frozenset[int] | None:
        """Return what a person had when last read; None when that is not known any more."""
        at, seen = self._kept.get(subject_id, (float("-inf"), frozenset()))
        return seen if self._clock() - at <= KEPT_SECONDS else None


def seen_keys(history: StoredHistory | None) -> frozenset[int]:
    """Return the keys of a history's items."""
    return frozenset(history.records["item_key"].tolist()) if history else frozenset()
