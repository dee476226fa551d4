"""Which messages of a batch are late, which repeat what was there before, and whose id had another payload.

Numbers in, flags out: `event_fates` turns rows of Spark into these and back.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NEVER = int(np.iinfo(np.int64).min)
"""Microseconds before every event: no time is known."""


def met_watermarks(partitions: Ints, event_us: Ints, is_valid: Flags, before: Sequence[int], *, delay_us: int) -> Ints:
    """Return the watermark that each message met, `NEVER` before the first valid event of its Kafka partition.

    Parameters
    ----------
    partitions
        Number of each message's Kafka partition, ascending; messages of one in the order of their offsets.
    event_us, is_valid
        Event times in microseconds, and which of them may move the watermark: what is not valid moves nothing.
    before
        Newest event time of each partition before this batch, or `NEVER`.
    delay_us
        How far the watermark lies behind the newest event.
    """
    met = np.full(len(partitions), NEVER)
    bounds = np.searchsorted(partitions, np.arange(len(before) + 1))
    for newest, first, end in zip(before, bounds, bounds[1:], strict=False):
        times = np.where(is_valid[first:end], event_us[first:end], NEVER)
        met[first:end] = np.maximum.accumulate(np.concatenate([[newest], times]))[:-1]
    known = met != NEVER
    met[known] -= delay_us
    return met


def is_among_others(values: Ints) -> Flags:
    """Tell which values are there more than once."""
    order = np.argsort(values, kind="stable")
    is_same = values[order][1:] == values[order][:-1]
    found = np.zeros(len(values), np.bool_)
    found[order[1:]] |= is_same
    found[order[:-1]] |= is_same
    return found


def find_repeats(ids: Ints, payloads: Ints, met_ids: Ints, met_payloads: Ints) -> tuple[Flags, Flags]:
    """Tell which messages repeat an earlier one, and which have an id that another payload had, or that was known.

    Parameters
    ----------
    ids, payloads
        Of the batch's messages in their order of arrival, as numbers.
    met_ids, met_payloads
        Of earlier batches; -1 is another payload than any of this batch with that id. Payloads are not negative.

    Returns
    -------
    is_repeated
        Id and payload came before, in an earlier batch or in this one.
    is_id_reused
        An earlier batch has the id, whatever its payload, or this batch's first message with it has another payload.
    """
    all_ids, all_payloads = np.concatenate([met_ids, ids]), np.concatenate([met_payloads, payloads])
    pairs = all_ids * (int(all_payloads.max(initial=0)) + 2) + all_payloads + 1
    of_pair, of_id = _first_rows(pairs)[len(met_ids) :], _first_rows(all_ids)[len(met_ids) :]
    rows = np.arange(len(met_ids), len(all_ids))
    return of_pair < rows, (of_id < len(met_ids)) | (all_payloads[of_id] != payloads)


def _first_rows(values: Ints) -> Ints:
    """Return for each value the row of its first occurrence."""
    _, first, groups = np.unique(values, return_index=True, return_inverse=True)
    return np.asarray(first[groups], np.int64)
