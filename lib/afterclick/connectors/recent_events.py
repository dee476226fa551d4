"""The ids of stored events that the writer of ingest keeps between its batches, as long as nobody else wrote.

They are hashes (`recent_ids`): an id that is not among them was not stored, and for the others the tables are read, only
the hours in which they may have been received. What is here is valid exactly for the tables' versions that this writer
itself left; after any other commit the tables are read until two batches have found them left alone
(docs/decisions/0054-known-ids.md).
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.arrived import Arrived, as_time
from afterclick.connectors.delta_tables import transaction_id
from afterclick.connectors.table_log import Commit, is_newest, newest_commit, own_commit
from afterclick.decided_fates import Fates
from afterclick.event_fates import ACCEPTED, Batch
from afterclick.fate_rules import Flags, Ints
from afterclick.recent_ids import HOUR_US, RecentIds
from afterclick.settings import Settings

logger = logging.getLogger(__name__)
_SLACK_HOURS = 1
"""Hours kept more than a batch needs: the next one may hold an older message."""


class Asked(NamedTuple):
    """What to read for a batch: stored events, None for nothing, and which messages may be among them, None for any."""

    known: DataFrame | None
    may_be_known: Flags | None


class RecentEvents:
    """Ids of the events that the tables hold of the window of duplicates.

    Parameters
    ----------
    most
        Ids to keep at most, eight bytes each; with more in the window the tables are read for each batch. 0: none.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ids: RecentIds | None = None
        self._left: dict[str, Commit] | None = None
        self._too_many_until = 0

    def narrow(
        self, stored: Callable[[], DataFrame], arrived: Arrived, settings: Settings, *, since_hour: int
    ) -> Asked:
        """Return what of the stored events a batch may repeat.

        Parameters
        ----------
        stored
            Reads the tables.
        since_hour
            First hour (since the epoch) of the window of duplicates.
        """
        if self._are_left_alone(settings) and self._ids is None:
            self._ids = self._read(stored, since_hour - _SLACK_HOURS)
        if self._ids is None or since_hour < self._ids.since_hour:
            return Asked(received_from(stored(), since_hour), None)
        self._ids.forget_before(since_hour - _SLACK_HOURS)
        may_be_known, hours = self._ids.find(arrived.id_hash)
        if hours is None:
            return Asked(None, may_be_known)
        return Asked(received_from(stored(), max(hours[0], since_hour), hours[1]), may_be_known)

    def keep(self, arrived: Arrived, fates: Fates, batch: Batch, settings: Settings) -> None:
        """Take in what a batch has stored, if the tables' newest commits are this batch's own."""
        self._left = self._own_commits(fates, batch, settings)
        if self._left is None or self._ids is None:
            self._ids = None
            return
        self._ids.add(arrived.id_hash[fates.is_stored], arrived.received_hours[fates.is_stored])
        if len(self._ids) > self._most:
            self._give_up(self._ids.since_hour)

    def _are_left_alone(self, settings: Settings) -> bool:
        """Tell whether nobody wrote since the batch before; if somebody did, note the versions of now."""
        if self._left and all(is_newest(settings, table, commit) for table, commit in self._left.items()):
            return True
        newest = {table: newest_commit(settings, table) for table in ACCEPTED}
        self._left = {table: commit for table, commit in newest.items() if commit}
        self._ids = None
        return False

    def _own_commits(self, fates: Fates, batch: Batch, settings: Settings) -> dict[str, Commit] | None:
        own: dict[str, Commit] = {}
        for table, before in (self._left or {}).items():
            transaction = (transaction_id(settings, batch.query, table), batch.batch_id)
            if not fates.counts[table]:
                commit = before if is_newest(settings, table, before) else None
            else:
                commit = own_commit(settings, table, before, transaction)
            if commit is None:
                return None
            own[table] = commit
        return own if len(own) == len(ACCEPTED) else None

    def _read(self, stored: Callable[[], DataFrame], since_hour: int) -> RecentIds | None:
        """Read the ids of the window from the tables."""
        if not self._most or since_hour < self._too_many_until:
            return None
        found = _read_window(received_from(stored(), since_hour), self._most)
        if found is None:
            self._give_up(since_hour)
            return None
        ids = RecentIds(since_hour)
        ids.add(*found)
        logger.info("ids of the window read count=%d", len(ids))
        return ids

    def _give_up(self, since_hour: int) -> None:
        """Keep no ids until the window has moved on."""
        logger.warning(
            "more than streams.known_ids=%d events in the window: tables are read for each batch", self._most
        )
        self._ids, self._too_many_until = None, since_hour + 1


def received_from(stored: DataFrame, hour: int, last_hour: int | None = None) -> DataFrame:
    """Keep what was received from an hour (since the epoch) on, until the end of another; Delta skips other files."""
    rows = stored.where(F.col("received_at") >= F.lit(as_time(hour * HOUR_US)))
    return rows if last_hour is None else rows.where(F.col("received_at") < F.lit(as_time((last_hour + 1) * HOUR_US)))


def _read_window(rows: DataFrame, most: int) -> tuple[Ints, Ints] | None:
    """Return hashes and hours of receipt, None if there are more than `most`: they come to the driver."""
    hour = F.floor(F.unix_micros("received_at") / HOUR_US).cast("long").alias("hour")
    if rows.count() > most:
        return None
    found = rows.select(F.xxhash64("event_id").alias("id_hash"), hour).toArrow()
    return found["id_hash"].to_numpy(), found["hour"].to_numpy()
