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

from afterclick.bit_columns import pack_bits, pack_numbers, pack_rising, unpack_numbers, width_of
from afterclick.places import LEVELS, MAGIC, Columns, ListedItem, Places, known, not_ours

REASONS = ("because_you_interacted", "others_went_on", "again", "popular", "trending")
"""Why an item is listed, by the source that brought most of its score, in the order of `blend.SOURCES`; stored by number."""
SOURCES = ("fold_in", "popular")
"""Where a stored list is from; by number too."""
_HEADER = struct.Struct("<2sffff")
"""Magic; best score and size of a step, of both lists."""
_SOURCES, _REASONS = ({text: number for number, text in enumerate(texts)} for texts in (SOURCES, REASONS))


class TopList(msgspec.Struct, frozen=True):
    """One person's list, best first; times in ms since the epoch; `trigger` is the rule that changed it, if any.

    After `later_after_ms` the visit is over and `later`, if there is one, takes the place of `items`.
    """

    model_version: str
    source: str
    fresh_as_of_ms: int
    generated_at_ms: int
    items: Sequence[ListedItem]
    trigger: str | None = None
    later: Sequence[ListedItem] | None = None
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


_NOTHING = _Unnumbered()


def pack_list(top: TopList, names: ItemNames) -> bytes:
    """Return a list's record; its version is not in it.

    Parameters
    ----------
    names
        Of the list's model version; items that are not among them, as triggers may put in front, are stored by id.
    """
    later = top.later or []
    places, more = [*top.items, *later], _Unnumbered(top.trigger)
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
        Return only what is shown at this time, as `TopList.at` does, unpacked while it is looked at (`Places`).

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
        raise not_ours(value, version, error) from error


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
    more = msgspec.msgpack.decode(value[-end:], type=_Unnumbered) if end else _NOTHING
    texts = known(names.ids, more.texts), known(REASONS, more.texts)
    columns = Columns(value, version, at, count + later_count, row_width, reason_width, *texts)
    if min(numbers[:5]) < 0 or columns.end() + end != len(value):
        raise ValueError(f"{columns.end() + end} bytes expected")
    items: Sequence[ListedItem] = Places(columns, range(count), best, step)
    next_visit = range(count, columns.places)
    later: Sequence[ListedItem] = Places(columns, next_visit, later_best + later_step * LEVELS, later_step)
    later_ms = fresh_ms + later_after_ms
    if shown_at_ms is None:
        items, later = list(items), list(later)
    else:
        items, later = later if later and shown_at_ms > later_ms else items, ()
    told = known(SOURCES, more.texts)[source]
    return TopList(version, told, fresh_ms, fresh_ms + generated_ms, items, more.trigger, later or None, later_ms)


def _numbers(texts: list[str], known: Mapping[str, int], others: list[str]) -> list[int]:
    """Return the number of each text; those that have none are added to `others` and numbered after all that have."""
    try:
        return list(map(known.__getitem__, texts))
    except KeyError:
        others.extend(dict.fromkeys(text for text in texts if text not in known and text not in others))
        return [known[text] if text in known else len(known) + others.index(text) for text in texts]


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
