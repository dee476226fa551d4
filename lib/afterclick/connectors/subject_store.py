"""Who is who and what they allow: identifiers, pseudonyms and consent in a database.

One transaction a batch of messages (`admit`); the services keep people they have seen in memory
(`subject_directory`). Every method raises `StoreUnavailableError` when the database cannot be reached.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from afterclick.connectors.subject_admission import Admission
from afterclick.connectors.subject_tables import CHANGES, METADATA, SUBJECTS, WITHDRAWALS, open_engine, translated
from afterclick.consent_rules import Claim, Person
from afterclick.pseudonyms import PseudonymKeys, RawId, subject_id_of
from afterclick.settings import Settings

_ATTEMPTS = 5


def open_subject_store(settings: Settings) -> "SubjectStore":
    """Return the store of an installation; it connects at the first command, one connection pool a process."""
    keys = PseudonymKeys.of(settings.privacy.pseudonym_key, *settings.privacy.previous_pseudonym_keys)
    return SubjectStore(_engine(settings.privacy.subject_store.get_secret_value()), keys)


@lru_cache(maxsize=4)
def _engine(url: str) -> sa.Engine:
    return open_engine(url)


class SubjectStore:
    """Commands on people."""

    def __init__(self, engine: sa.Engine, keys: PseudonymKeys, clock: Callable[[], float] = time.time) -> None:
        self.keys = keys
        self._engine = engine
        self._clock = clock
        self._has_tables = False

    def now_ms(self) -> int:
        """Return the time of the store's entries."""
        return int(self._clock() * 1000)

    def admit(self, claims: Sequence[Claim]) -> list[Person | None]:
        """Hear what messages say, in order, and return their people.

        Returns
        -------
        list
            None for somebody unknown who granted nothing, or whose message is from before an erasure: nothing is
            kept of them.
        """
        with self.reading() as connection:  # most say nothing new, and readers wait for nobody
            admission = Admission(connection, self.keys, self.now_ms(), is_writing=False)
            admission.read_claims(claims)
            if not any(map(admission.is_news, claims)):
                return [admission.person(claim.identifier) for claim in claims]
        for attempt in range(_ATTEMPTS):
            try:
                with self.writing() as connection:
                    return Admission(connection, self.keys, self.now_ms(), is_writing=True).admit(claims)
            except IntegrityError:  # another process admitted the same person at the same moment
                if attempt == _ATTEMPTS - 1:
                    raise
        return []

    def find(self, identifier: RawId) -> Person | None:
        """Return a known person."""
        with self.reading() as connection:
            admission = Admission(connection, self.keys, self.now_ms(), is_writing=False)
            admission.read([identifier])
            return admission.person(identifier)

    def subject_ids(self, owner: str) -> list[str]:
        """Return every pseudonym a person has had."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(SUBJECTS).where(SUBJECTS.c.owner == owner))
            return [subject_id_of(row.secret, row.subject_key) for row in rows]

    def joined_pseudonyms(self) -> dict[str, str]:
        """Return the earlier pseudonyms of joined people, each with the one that stands for the person now."""
        is_joined = SUBJECTS.c.owner.in_(sa.select(SUBJECTS.c.owner).where(SUBJECTS.c.owner != SUBJECTS.c.subject_key))
        with self.reading() as connection:
            rows = connection.execute(sa.select(SUBJECTS).where(is_joined)).all()
        names = {row.subject_key: subject_id_of(row.secret, row.subject_key) for row in rows}
        is_earlier = [row for row in rows if row.owner != row.subject_key and row.owner in names]
        return {names[row.subject_key]: names[row.owner] for row in is_earlier}

    def changes_after(self, number: int) -> dict[int, str]:
        """Return whose entry changed, by number."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(CHANGES).where(CHANGES.c.number > number))
            return {row.number: row.owner for row in rows}

    def last_change(self) -> int:
        """Return the newest change's number."""
        with self.reading() as connection:
            return int(connection.execute(sa.select(sa.func.max(CHANGES.c.number))).scalar() or 0)

    def unfollowed(self) -> Sequence[sa.Row[Any]]:
        """Return the withdrawals, standing or lifted, that the cache has not followed."""
        with self.reading() as connection:
            return connection.execute(sa.select(WITHDRAWALS).where(~WITHDRAWALS.c.is_followed)).all()

    def mark_followed(self, numbers: Iterable[int]) -> None:
        """Note that the cache has followed."""
        self._mark(numbers, is_followed=True)

    def unremoved(self, purpose: str) -> Sequence[sa.Row[Any]]:
        """Return standing withdrawals of people whose rows are still in the tables."""
        chosen = (WITHDRAWALS.c.purpose == purpose) & WITHDRAWALS.c.is_standing & ~WITHDRAWALS.c.is_removed
        with self.reading() as connection:
            return connection.execute(sa.select(WITHDRAWALS).where(chosen)).all()

    def mark_removed(self, numbers: Iterable[int]) -> None:
        """Note that no row is left in the tables."""
        self._mark(numbers, is_removed=True)

    def _mark(self, numbers: Iterable[int], **values: bool) -> None:
        with self.writing() as connection:
            marked = sa.update(WITHDRAWALS).where(WITHDRAWALS.c.number.in_(list(numbers)))
            connection.execute(marked.values(**values))

    def compact(self) -> None:
        """Have SQLite move its write-ahead log into the database: it holds what was deleted."""
        if self._engine.dialect.name == "sqlite":
            with self.reading() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a connection outside of any transaction."""
        self._create_tables()
        with translated(), self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction."""
        self._create_tables()
        with translated(), self._engine.begin() as connection:
            yield connection

    def _create_tables(self) -> None:
        if not self._has_tables:
            with translated():
                METADATA.create_all(self._engine)
            self._has_tables = True
