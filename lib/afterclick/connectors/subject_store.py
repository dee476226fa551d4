"""Who is who and what they allow: identifiers, pseudonyms and consent in a database.

One transaction a batch of messages (`admit`); the services keep people they have seen in memory
(`subject_directory`). Every method raises `StoreUnavailableError` when the database cannot be reached.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

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
    keyring = PseudonymKeys.of(settings.privacy.pseudonym_key, *settings.privacy.previous_pseudonym_keys)
    return SubjectStore(_engine(settings.privacy.subject_store.get_secret_value()), keyring)


@lru_cache(maxsize=4)
def _engine(url: str) -> sa.Engine:
    return open_engine(url)


class SubjectStore:
    """Commands on people."""

    def __init__(self, engine: sa.Engine, keyring: PseudonymKeys, clock: Callable[[], float] = time.time) -> None:
        self.keyring = keyring
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
        for attempt in range(_ATTEMPTS):
            try:
                with self.writing() as connection:
                    return Admission(connection, self.keyring, self.now_ms(), is_writing=True).admit(claims)
            except IntegrityError:  # another process admitted the same person at the same moment
                if attempt == _ATTEMPTS - 1:
                    raise
        return []

    def find(self, identifier: RawId) -> Person | None:
        """Return a known person."""
        with self.reading() as connection:
            admission = Admission(connection, self.keyring, self.now_ms(), is_writing=False)
            admission.read([identifier])
            return admission.person(identifier)

    def subject_ids(self, owner: str) -> list[str]:
        """Return every pseudonym a person has had."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(SUBJECTS).where(SUBJECTS.c.owner == owner))
            return [subject_id_of(row.secret, row.subject_key) for row in rows]

    def changes_after(self, number: int) -> dict[int, str]:
        """Return whose entry changed, by number."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(CHANGES).where(CHANGES.c.number > number))
            return {row.number: row.owner for row in rows}

    def last_change(self) -> int:
        """Return the newest change's number."""
        with self.reading() as connection:
            return int(connection.execute(sa.select(sa.func.max(CHANGES.c.number))).scalar() or 0)

    def uncleared(self) -> dict[str, list[int]]:
        """Return subjects whose change of consent the cache has not followed, with the entries' numbers."""
        found: dict[str, list[int]] = defaultdict(list)
        with self.reading() as connection:
            for row in connection.execute(sa.select(WITHDRAWALS).where(~WITHDRAWALS.c.is_cleared)):
                found[row.subject_id].append(row.number)
        return found

    def mark_cleared(self, numbers: Iterable[int]) -> None:
        """Note that the cache has followed."""
        with self.writing() as connection:
            cleared = sa.update(WITHDRAWALS).where(WITHDRAWALS.c.number.in_(list(numbers)))
            connection.execute(cleared.values(is_cleared=True))

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
