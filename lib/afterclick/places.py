"""Places of a stored list, unpacked while they are looked at. No I/O; `list_records` has the whole record."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from afterclick.bit_columns import end_of_bits, end_of_rising, read_bits, read_rising
from afterclick.errors import StoreUnavailableError

MAGIC = b"L1"
LEVELS = 200
"""Scores are stored as so many steps from the best one of their list to its worst: the third digit may be 2 or 3 off."""
_MILLION = 1e6
_LOOKED_AT = 24
"""Places unpacked together when the first is looked at: most answers need no more."""


class ListedItem(msgspec.Struct, frozen=True, gc=False):
    """One place of a list."""

    item_id: str
    score: float
    reason: str


class Columns(NamedTuple):
    """Where the numbers of all places are in a record, and what they stand for."""

    value: bytes
    version: str
    begin: int
    places: int
    row_width: int
    reason_width: int
    ids: "Known"
    reasons: "Known"

    def end(self) -> int:
        """Return where they end."""
        begin = end_of_rising(self.begin, self.places, 2 * LEVELS)
        return end_of_bits(begin, self.places, self.row_width + self.reason_width)

    def read(self, some: range) -> Iterable[tuple[int, int]]:
        """Return level and code of some places."""
        levels = read_rising(self.value, self.begin, self.places, 2 * LEVELS, some)
        begin = end_of_rising(self.begin, self.places, 2 * LEVELS)
        return zip(levels, read_bits(self.value, begin, self.row_width + self.reason_width, some), strict=True)


class Places(Sequence[ListedItem]):
    """Places of a record, unpacked while they are looked at: an answer seldom needs them all.

    To look at one raises `StoreUnavailableError` if its numbers stand for nothing.

    Parameters
    ----------
    zero, step
        Score at level 0, and how much less it is at each next one.
    """

    def __init__(self, columns: Columns, some: range, zero: float, step: float) -> None:
        self._columns = columns
        self._some = some
        self._scale = zero, step

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._some)

    def __getitem__(self, place: Any) -> Any:
        """Return one of them, or a part."""
        return list(self)[place]

    def __iter__(self) -> Iterator[ListedItem]:
        """Yield them, best first."""
        columns, (zero, step) = self._columns, self._scale
        ids, reasons, row_width = columns.ids, columns.reasons, columns.row_width
        row_mask = (1 << row_width) - 1
        try:
            for some in self._some[:_LOOKED_AT], self._some[_LOOKED_AT:]:
                for level, code in columns.read(some):
                    score = ((zero - step * level) * _MILLION + 0.5) // 1 / _MILLION
                    yield ListedItem(ids[code & row_mask], score, reasons[code >> row_width])
        except (LookupError, ValueError) as error:
            raise not_ours(columns.value, columns.version, error) from error


def known(texts: Sequence[str], others: Sequence[str]) -> "Known":
    """Return texts by number, `others` after all that are known."""
    return _Extended(texts, others) if others else texts


class _Extended:
    def __init__(self, texts: Sequence[str], others: Sequence[str]) -> None:
        self._texts = texts
        self._others = others

    def __getitem__(self, number: int) -> str:
        known = len(self._texts)
        return self._texts[number] if number < known else self._others[number - known]


Known = Sequence[str] | _Extended


def not_ours(value: bytes, version: str, error: Exception) -> StoreUnavailableError:
    """Return the error that says that a value is no list of ours."""
    told = f"a list of {len(value)} bytes begins with {value[:4]!r}, expected {MAGIC!r} and items of {version}: {error}"
    advice = "Another program uses the prefix, or the cache is damaged: run `afterclick rebuild-cache`"
    return StoreUnavailableError(f"{told}. {advice}")
