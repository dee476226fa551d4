"""Whose events the streams and jobs leave out: people who withdrew or were erased, read again every second.

Before anybody is left out for a standing withdrawal it is read once more in that batch: who allows it again is not to lose the
events of that second.

What a person did before they withdrew may still lie on Kafka or in a recorded file; without this a replay would bring
it back. In this process's memory, so that a batch costs no query.
"""

import json
import time
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.connectors.subject_store import SubjectStore, open_subject_store
from afterclick.connectors.subject_tables import ERASURES, SUPPRESSIONS, WITHDRAWALS
from afterclick.settings import Settings
from afterclick.vocabulary import Purpose

FOR_EVER = 2**62
"""Milliseconds that no event reaches."""
_REFRESH_SECONDS = 1.0
_LOOK_BACK = 1_000
"""Numbers read again each time: a database may show them out of order."""


@lru_cache(maxsize=4)
def _kept_out(url: str, keys: str) -> list["KeptOut"]:
    return []


def open_kept_out(settings: Settings) -> "KeptOut":
    """Return this process's list, at most a second old."""
    url, key = settings.privacy.subject_store.get_secret_value(), settings.privacy.pseudonym_key.get_secret_value()
    slot = _kept_out(url, key)
    if not slot:
        slot.append(KeptOut(open_subject_store(settings)))
    slot[0].refresh()
    return slot[0]


class KeptOut:
    """Until when each person's events are left out, by purpose."""

    def __init__(self, store: SubjectStore) -> None:
        self._store = store
        self._withdrawn: dict[tuple[str, str], int] = {}
        self._erased: set[str] = set()
        self._being_erased: frozenset[str] = frozenset()
        self._floors = [0, 0]
        self._read_at = -_REFRESH_SECONDS
        self._is_of_this_batch = False

    def refresh(self) -> None:
        """Begin a batch: read what is new, unless that was done within the last second."""
        self._is_of_this_batch = False
        if time.monotonic() - self._read_at >= _REFRESH_SECONDS:
            self._read()

    def _read(self) -> None:
        self._read_at, self._is_of_this_batch = time.monotonic(), True
        with self._store.reading() as connection:
            new = sa.select(WITHDRAWALS).where(WITHDRAWALS.c.number > self._floors[0] - _LOOK_BACK)
            for row in connection.execute(new.order_by(WITHDRAWALS.c.number)):
                self._withdrawn[row.subject_id, row.purpose] = FOR_EVER if row.is_standing else row.withdrawn_ms
                self._floors[0] = max(self._floors[0], row.number)
            erased = sa.select(SUPPRESSIONS).where(SUPPRESSIONS.c.number > self._floors[1] - _LOOK_BACK)
            for row in connection.execute(erased):
                self._erased.add(row.hash)
                self._floors[1] = max(self._floors[1], row.number)
            pending = connection.execute(sa.select(ERASURES.c.subject_ids).where(ERASURES.c.subject_ids != "[]"))
            self._being_erased = frozenset(one for (names,) in pending for one in json.loads(names))

    @property
    def is_empty(self) -> bool:
        """Tell whether nobody is kept out."""
        return not (self._withdrawn or self._erased)

    def named(self) -> list[str]:
        """Return the people who are kept out by name: withdrawn, or being erased."""
        return sorted({subject_id for subject_id, _ in self._withdrawn} | self._being_erased)

    def until_ms(self, subject_ids: Sequence[str], purpose: str) -> npt.NDArray[np.int64]:
        """Return for each subject the time of receipt up to which events are left out; 0: none are."""
        found = self._withdrawn_until(subject_ids, purpose)
        if FOR_EVER in found and not self._is_of_this_batch:
            self._read()
            found = self._withdrawn_until(subject_ids, purpose)
        if self._erased:
            hashed = self._store.keys.suppressions
            found = [
                FOR_EVER if until < FOR_EVER and not self._erased.isdisjoint(hashed(subject_id)) else until
                for subject_id, until in zip(subject_ids, found, strict=True)
            ]
        return np.array(found, np.int64)

    def _withdrawn_until(self, subject_ids: Sequence[str], purpose: str) -> list[int]:
        return [self._withdrawn.get((subject_id, purpose), 0) for subject_id in subject_ids]


def keep_allowed(interactions: pa.Table, kept_out: KeptOut) -> pa.Table:
    """Keep the rows of `schemas.INTERACTION` that may be used: lists need every purpose."""
    if kept_out.is_empty or len(interactions) == 0:
        return interactions
    people = interactions["subject_id"].combine_chunks().dictionary_encode()
    names = people.dictionary.to_pylist()
    until = np.maximum.reduce([kept_out.until_ms(names, purpose) for purpose in Purpose])[people.indices.to_numpy()]
    return interactions.filter(pa.array(interactions["received_ms"].to_numpy() > until))


def withdraw_consent(events: DataFrame, kept_out: KeptOut) -> DataFrame:
    """Take the consent from a batch's events that may no longer be used, and add `is_kept_out`: not to be stored at all.

    Parameters
    ----------
    events
        With `subject_id`, `consent` and `received_at`; null counts as received too early. Their people go to the driver:
        bounded by ``kafka.bulk_max_offsets_per_trigger``.
    """
    return _without_consent(with_bounds(events, kept_out))


def withdraw_stored(events: DataFrame, kept_out: KeptOut) -> DataFrame:
    """Do the same to stored events, by the people known by name: rows of those erased long ago are gone."""
    return _without_consent(_bounded(events, kept_out, kept_out.named()))


def with_bounds(rows: DataFrame, kept_out: KeptOut) -> DataFrame:
    """Add `personalisation_until` and `analytics_until` to a batch's rows: what was received up to then is left out.

    Milliseconds since the epoch, 0 for most people; people as in `withdraw_consent`.
    """
    if kept_out.is_empty:
        return _bounded(rows, kept_out, [])
    people = rows.select("subject_id").where("subject_id IS NOT NULL").distinct().toArrow()["subject_id"].to_pylist()
    return _bounded(rows, kept_out, people)


def _bounded(rows: DataFrame, kept_out: KeptOut, people: Sequence[str]) -> DataFrame:
    until = {f"{purpose}_until": kept_out.until_ms(people, purpose) for purpose in Purpose}
    is_touched = np.maximum.reduce(list(until.values())) > 0
    if not is_touched.any():
        return rows.withColumns(dict.fromkeys(until, F.lit(0).cast("long")))
    touched = pa.table({"subject_id": pa.array(people, pa.string()), **until}).filter(pa.array(is_touched))
    bounds = rows.sparkSession.createDataFrame(touched)
    joined = rows.join(F.broadcast(bounds), on="subject_id", how="left")
    return joined.select(*rows.columns, *[F.coalesce(name, F.lit(0)).alias(name) for name in until])


def _without_consent(bounded: DataFrame) -> DataFrame:
    received = F.coalesce(F.unix_millis("received_at"), F.lit(0))
    until = {purpose: F.col(f"{purpose}_until") for purpose in Purpose}
    is_left_out = {purpose: (at > 0) & (received <= at) for purpose, at in until.items()}
    consent = F.col("consent")
    for purpose, is_withdrawn in is_left_out.items():
        consent = F.when(is_withdrawn, F.array_remove(consent, purpose.value)).otherwise(consent)
    changed = bounded.withColumns({"consent": consent, "is_kept_out": is_left_out[Purpose.ANALYTICS]})
    return changed.drop(*[f"{purpose}_until" for purpose in Purpose])
