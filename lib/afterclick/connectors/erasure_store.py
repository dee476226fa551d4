"""Requests to erase a person, and a receipt per store; part of the subject store's database."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from afterclick.connectors.subject_store import SubjectStore
from afterclick.connectors.subject_tables import (
    CHANGES,
    CONSENTS,
    ERASURES,
    IDENTIFIERS,
    RECEIPTS,
    SUBJECTS,
    SUPPRESSIONS,
    WITHDRAWALS,
)
from afterclick.consent_rules import Person
from afterclick.pseudonyms import RawId, subject_id_of


class Receipt(NamedTuple):
    """What one store says; times in milliseconds since the epoch, None: not yet.

    Parameters
    ----------
    removed_ms
        Since when the person is in no answer of this store.
    clean_ms
        Since when no byte of them is left in it.
    told
        Why it is not clean yet and when it will be, or how it was done.
    """

    store: str
    removed_ms: int | None
    clean_ms: int | None
    told: str


class Erasure(NamedTuple):
    """One request; `subject_ids` are empty when no store has to be searched any more."""

    erasure_id: str
    requested_ms: int
    subject_ids: Sequence[str]


class ErasureStore:
    """Commands on erasures."""

    def __init__(self, store: SubjectStore) -> None:
        self._store = store

    def begin(self, identifier: RawId) -> Erasure | None:
        """Cut the link to a person in one transaction; None when nobody is known by the identifier.

        Their identifiers and pseudonyms are remembered as HMACs only, so that replays stay out; the pseudonyms
        themselves stay with the request until every store has been searched for them.
        """
        while (person := self._store.find(identifier)) is not None:
            if erasure := self._cut(person):
                self._store.compact()
                gone = "identifiers, secrets and consent are deleted"
                self.note(
                    erasure.erasure_id, Receipt("subject_store", erasure.requested_ms, erasure.requested_ms, gone)
                )
                return erasure
        return None

    def _cut(self, person: Person) -> Erasure | None:
        """Do so; None where the person was erased or joined with somebody else since they were found."""
        now_ms, erasure_id = self._store.now_ms(), uuid.uuid4().hex
        with self._store.writing() as connection:
            owned, mine = IDENTIFIERS.c.owner == person.owner, SUBJECTS.c.owner == person.owner
            lookups = [row.lookup for row in connection.execute(sa.select(IDENTIFIERS).where(owned).with_for_update())]
            if not lookups:
                return None
            subject_ids = [
                subject_id_of(row.secret, row.subject_key)
                for row in connection.execute(sa.select(SUBJECTS).where(mine))
            ]
            hashes = [self._store.keys.suppressions(hashed)[0] for hashed in (*lookups, *subject_ids)]
            connection.execute(sa.delete(SUPPRESSIONS).where(SUPPRESSIONS.c.hash.in_(hashes)))
            connection.execute(sa.insert(SUPPRESSIONS), [{"hash": h, "suppressed_ms": now_ms} for h in hashes])
            for table, chosen in (
                (IDENTIFIERS, owned),
                (SUBJECTS, mine),
                (CONSENTS, CONSENTS.c.owner == person.owner),
                (WITHDRAWALS, WITHDRAWALS.c.subject_id.in_(subject_ids)),
            ):
                connection.execute(sa.delete(table).where(chosen))
            connection.execute(sa.insert(CHANGES).values(owner=person.owner))
            row = {"erasure_id": erasure_id, "requested_ms": now_ms, "subject_ids": json.dumps(subject_ids)}
            connection.execute(sa.insert(ERASURES).values(row))
        return Erasure(erasure_id, now_ms, subject_ids)

    def read(self, erasure_id: str | None = None) -> list[Erasure]:
        """Return all requests, or one, oldest first."""
        wanted = sa.select(ERASURES).order_by(ERASURES.c.requested_ms)
        if erasure_id is not None:
            wanted = wanted.where(ERASURES.c.erasure_id == erasure_id)
        with self._store.reading() as connection:
            rows = connection.execute(wanted).all()
        return [Erasure(row.erasure_id, row.requested_ms, json.loads(row.subject_ids)) for row in rows]

    def receipts(self, erasure_id: str) -> Mapping[str, Receipt]:
        """Return what stores have said so far."""
        with self._store.reading() as connection:
            rows = connection.execute(sa.select(RECEIPTS).where(RECEIPTS.c.erasure_id == erasure_id)).all()
        return {row.store: Receipt(row.store, row.removed_ms, row.clean_ms, row.told) for row in rows}

    def note(self, erasure_id: str, receipt: Receipt) -> None:
        """Keep what a store says."""
        same = (RECEIPTS.c.erasure_id == erasure_id) & (RECEIPTS.c.store == receipt.store)
        with self._store.writing() as connection:
            connection.execute(sa.delete(RECEIPTS).where(same))
            connection.execute(sa.insert(RECEIPTS).values(erasure_id=erasure_id, **receipt._asdict()))

    def end_search(self, erasure_id: str) -> None:
        """Drop the pseudonyms of a request: every store has been searched."""
        with self._store.writing() as connection:
            one = sa.update(ERASURES).where(ERASURES.c.erasure_id == erasure_id)
            connection.execute(one.values(subject_ids="[]"))
        self._store.compact()
