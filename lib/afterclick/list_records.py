"""A person's list and the one for their next visit, as a record of about three bytes a place. No I/O.

Header and numbers, then for all places of both lists one after the other a column of scores and one of model rows with
reasons (`bit_columns`); last, where there is something, what has no number. docs/decisions/0050-compact-lists.md says why.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from afterclick.bit_columns import (
    pack_bits,
    pack_numbers,
    pack_rising,
    unpack_bits,
    unpack_numbers,
    unpack_rising,
    width_of,
)
from afterclick.errors import StoreUnavailableError

REASONS = ("because_you_interacted", "others_went_on", "again", "popular", "trending")
"""Why an item is listed, by the source that brought most of its score, in the order of `blend.SOURCES`; stored by number."""
SOURCES = ("fold_in", "popular")
"""Where a stored list is from; by number too."""
MAGIC = b"L1"
LEVELS = 200
"""Scores are stored as so many steps from the best one of their list to its worst: the third digit may be 2 or 3 off."""
_HEADER = struct.Struct("<2sffff")
"""Magic; best score and size of a step, of both lists."""
_SOURCES, _REASONS = ({text: number for number, text in enumerate(texts)} for texts in (SOURCES, REASONS))


class ListedItem(msgspec.Struct, frozen=True):
    """One place of a list."""

    item_id: str
    score: float
    reason: str


class TopList(msgspec.Struct, frozen=True):
    """One person's list, best first; times in ms since the epoch; `trigger` is the rule that changed it, if any.

    After `later_after_ms` the visit is over and `later`, if there is one, takes the place of `items`.
    """

    model_version: str
    source: str
    fresh_as_of_ms: int
    generated_at_ms: int
    items: list[ListedItem]
    trigger: str | None = None
    later: list[ListedItem] | None = None
    later_after_ms: int = 0

    def at(self, now_ms: int) -> "TopList":
        """Return the list as it is shown at a time."""
        shown = self.later if self.later and now_ms > self.later_after_ms else self.items
        return msgspec.structs.replace(self, items=shown, later=None)


@dataclass(frozen=True)
class ItemNames:
    """The ids of a model version's items, in the order of its rows."""

    ids: Sequence[str]

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """Return the row of each id."""
        return {item_id: row for row, item_id in enumerate(self.ids)}


NO_NAMES = ItemNames(())


class _Unnumbered(msgspec.Struct, array_like=True):
    """What of a list has no number: texts are numbered after the known ones of their column."""

    trigger: str | None = None
    texts: list[str] = []


def pack_list(top: TopList, names: ItemNames) -> bytes:
    """Return a list's record; its version is not in it.

    Parameters
    ----------
    names
        Of the list's model version; items that are not among them, as triggers may put in front, are stored by id.
    """
    later = top.later or []
    places, more = top.items + later, _Unnumbered(top.trigger)
    source = _numbers([top.source], _SOURCES, more.texts)[0]
    rows = np.array(_numbers([place.item_id for place in places], names.row_of, more.texts), np.int64)
    reasons = np.array(_numbers([place.reason for place in places], _REASONS, more.texts), np.int64)
    widths = width_of(rows), width_of(reasons)
    scales, levels = _levels(top.items, later)
    fresh_ms, end = top.fresh_as_of_ms, msgspec.msgpack.encode(more) if more.trigger is not None or more.texts else b""
    times = fresh_ms, top.generated_at_ms - fresh_ms, top.later_after_ms - fresh_ms
    begin = pack_numbers((source, *widths, len(top.items), len(later), *times, len(end)))
    columns = pack_rising(levels, 2 * LEVELS) + pack_bits(rows | reasons << widths[0], sum(widths))
    return _HEADER.pack(MAGIC, *scales) + begin + columns + end


def unpack_list(value: bytes, version: str, names: ItemNames, shown_at_ms: int | None = None) -> TopList:
    """Return the list of a record, or of what was stored before there were records: MessagePack of `TopList`.

    Parameters
    ----------
    names
        As it was packed with: those of `version`.
    shown_at_ms
        Return only what is shown at this time, as `TopList.at` does: half the work.

    Raises
    ------
    StoreUnavailableError
        If the record is not one of ours.
    """
    try:
        if value.startswith(MAGIC):
            return _unpack(value, version, names, shown_at_ms)
        before: TopList = msgspec.msgpack.decode(value, type=TopList)
        return before if shown_at_ms is None else before.at(shown_at_ms)
    except (ValueError, LookupError, OverflowError, struct.error, msgspec.DecodeError) as error:
        told = f"a list of {len(value)} bytes begins with {value[:4]!r}, expected {MAGIC!r} and items of {version}: {error}"
        message = f"{told}. Another program uses the prefix, or the cache is damaged: run `afterclick rebuild-cache`"
        raise StoreUnavailableError(message) from error


def pack_names(item_ids: Sequence[str]) -> bytes:
    """Return the ids of a version's items as stored: MessagePack."""
    return msgspec.msgpack.encode(item_ids)


def unpack_names(value: bytes) -> ItemNames:
    """Return what `pack_names` stored."""
    return ItemNames(msgspec.msgpack.decode(value, type=list[str]))


def _unpack(value: bytes, version: str, names: ItemNames, shown_at_ms: int | None) -> TopList:
    _, best, step, later_best, later_step = _HEADER.unpack_from(value)
    numbers, at = unpack_numbers(value, _HEADER.size, 9)
    source, row_width, reason_width, count, later_count, fresh_ms, generated_ms, later_after_ms, end = numbers
    levels, at = unpack_rising(value, at, count + later_count, 2 * LEVELS)
    column, at = unpack_bits(value, at, count + later_count, row_width + reason_width)
    if at + end != len(value):
        raise ValueError(f"{at + end} bytes expected")
    more = msgspec.msgpack.decode(value[at:], type=_Unnumbered) if end else _Unnumbered()
    later_ms = fresh_ms + later_after_ms

    def places(part: slice, best: float, steps: npt.NDArray[np.float64]) -> list[ListedItem]:
        ids = _texts((column[part] & (1 << row_width) - 1).tolist(), names.ids, more.texts)
        reasons = _texts((column[part] >> row_width).tolist(), REASONS, more.texts)
        return list(map(ListedItem, ids, (best - steps).round(6).tolist(), reasons))

    is_over = later_count > 0 and shown_at_ms is not None and shown_at_ms > later_ms
    items, later = [], None
    if not is_over:
        items = places(slice(count), best, step * levels[:count])
    if is_over or (later_count and shown_at_ms is None):
        later = places(slice(count, None), later_best, later_step * (levels[count:] - LEVELS))
    (told,) = _texts([source], SOURCES, more.texts)
    shown = (later or [], None) if is_over else (items, later)
    return TopList(version, told, fresh_ms, fresh_ms + generated_ms, shown[0], more.trigger, shown[1], later_ms)


def _numbers(texts: list[str], known: Mapping[str, int], others: list[str]) -> list[int]:
    """Return the number of each text; those that have none are added to `others` and numbered after all that have."""
    try:
        return list(map(known.__getitem__, texts))
    except KeyError:
        others.extend(dict.fromkeys(text for text in texts if text not in known and text not in others))
        return [known[text] if text in known else len(known) + others.index(text) for text in texts]


def _texts(codes: list[int], known: Sequence[str], others: Sequence[str]) -> list[str]:
    if not others:
        return list(map(known.__getitem__, codes))
    return [known[code] if code < len(known) else others[code - len(known)] for code in codes]


def _levels(*lists: Sequence[ListedItem]) -> tuple[list[float], npt.NDArray[np.int64]]:
    """Return each list's best score and size of a step, and how many steps each place is below the best.

    Never fewer than the place before: what is out of order by its score keeps its place.
    """
    scales, parts = [], []
    for number, places in enumerate(lists):
        scores = [place.score for place in places]
        best, worst = max(scores, default=0.0), min(scores, default=0.0)
        step = (best - worst) / (LEVELS - 1)
        scales += [best, step]
        parts.append((best - np.array(scores)) / (step or 1.0) + number * LEVELS)
    return scales, np.maximum.accumulate(np.rint(np.concatenate(parts)).astype(np.int64))
