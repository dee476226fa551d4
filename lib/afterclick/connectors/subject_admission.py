"""One transaction of the subject store: hear what messages say of their people, in order."""

import secrets
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from afterclick.connectors.subject_tables import (
    CHANGES,
    CONSENTS,
    IDENTIFIERS,
    SUBJECTS,
    SUPPRESSIONS,
    WITHDRAWALS,
)
from afterclick.consent_rules import EXPRESS_SOURCES, Claim, Decision, Person, settle, settle_all
from afterclick.pseudonyms import PseudonymKeys, RawId, subject_id_of

_CHUNK = 5_000


@dataclass
class Admission:
    """One transaction: what it has read, and what it will write at its end."""

    connection: sa.Connection
    keys: PseudonymKeys
    now_ms: int
    is_writing: bool
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)  # identifiers by lookup under the active key
    subjects: dict[str, str] = field(default_factory=dict)  # subject id by owner
    decisions: dict[str, dict[str, Decision]] = field(default_factory=dict)
    suppressed: dict[str, int] = field(default_factory=dict)
    new: dict[sa.Table, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    created: set[str] = field(default_factory=set)  # owners of whom nobody knew before

    def admit(self, claims: Sequence[Claim]) -> list[Person | None]:
        """See `SubjectStore.admit`."""
        self.read_claims(claims)
        people = [self._admit(claim) for claim in claims]
        for table in (SUBJECTS, IDENTIFIERS, CONSENTS, WITHDRAWALS, CHANGES):
            if self.new[table]:
                self.connection.execute(sa.insert(table), self.new[table])
        return people

    def is_news(self, claim: Claim) -> bool:
        """Tell whether a message that was read says something to be written."""
        row = self._row(claim.identifier)
        if row is None:
            return self._is_worth_keeping(claim)
        if row["key_id"] != self.keys.active_id:
            return True
        others = [self._row(other) for other in claim.also]
        if any(other is None or other["owner"] != row["owner"] for other in others):
            return True
        before = self.decisions[row["owner"]]
        said = {p: Decision(granted, claim.at_ms, claim.source) for p, granted in claim.consent.items()}
        return any(settle(before.get(purpose), new) is not before.get(purpose) for purpose, new in said.items())

    def read_claims(self, claims: Sequence[Claim]) -> None:
        """Read everybody whom messages name."""
        self.read([identifier for claim in claims for identifier in (claim.identifier, *claim.also)])

    def read(self, identifiers: Iterable[RawId]) -> None:
        """Read identifiers with their people, and whether the unknown ones were erased."""
        wanted = {hashed: (key_id, one) for one in set(identifiers) for key_id, hashed in self._lookups(one)}
        for row in self._select(IDENTIFIERS.c.lookup, list(wanted)):
            key_id, identifier = wanted[row.lookup]
            active = self.keys.lookup(identifier)
            if key_id != self.keys.active_id and self.is_writing:
                moved = sa.update(IDENTIFIERS).where(IDENTIFIERS.c.lookup == row.lookup)
                self.connection.execute(moved.values(lookup=active, key_id=self.keys.active_id))
            self.rows[active] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
        self._read_owners({row["owner"] for row in self.rows.values()})
        unknown = [hashed for hashed, (_, identifier) in wanted.items() if self._row(identifier) is None]
        erased = {hidden: hashed for hashed in unknown for hidden in self.keys.suppressions(hashed)}
        for row in self._select(SUPPRESSIONS.c.hash, list(erased)):
            self.suppressed[self.keys.lookup(wanted[erased[row.hash]][1])] = row.suppressed_ms

    def person(self, identifier: RawId) -> Person | None:
        """Return a person that was read."""
        row = self._row(identifier)
        if row is None:
            return None
        owner = row["owner"]
        return Person(owner, self.subjects[owner], dict(self.decisions[owner]), row["not_before_ms"])

    def _admit(self, claim: Claim) -> Person | None:
        if self._row(claim.identifier) is None:
            if not self._is_worth_keeping(claim):
                return None
            self._link(claim.identifier, self._new_owner(), self._erased_ms(claim.identifier))
        owner = self._row(claim.identifier)["owner"]  # type: ignore[index]  # linked above
        for other in claim.also:
            self._join(owner, other)
        for purpose, granted in claim.consent.items():
            self._hear(owner, purpose, Decision(granted, min(claim.at_ms, self.now_ms), claim.source))
        return self.person(claim.identifier)

    def _is_worth_keeping(self, claim: Claim) -> bool:
        says_enough = any(claim.consent.values()) or claim.source in EXPRESS_SOURCES
        return says_enough and claim.at_ms > self._erased_ms(claim.identifier)

    def _erased_ms(self, identifier: RawId) -> int:
        return self.suppressed.get(self.keys.lookup(identifier), 0)

    def _hear(self, owner: str, purpose: str, said: Decision) -> None:
        before = self.decisions[owner].get(purpose)
        now = settle(before, said)
        if now is before:
            return
        self.decisions[owner][purpose] = now
        self.new[CONSENTS].append(
            {"owner": owner, "purpose": purpose, "recorded_ms": self.now_ms, **now._asdict()},
        )
        is_reversed = before is not None and before.granted != now.granted
        if is_reversed or (before is None and now.granted and owner not in self.created):  # somebody may remember them
            self.new[CHANGES].append({"owner": owner})
        if is_reversed:
            self._follow(owner, purpose, granted=now.granted)

    def _follow(self, owner: str, purpose: str, *, granted: bool) -> None:
        """Tell the streams: a withdrawal keeps out all, a new grant what was received until the withdrawal."""
        subject_ids = [subject_id_of(r.secret, r.subject_key) for r in self._select(SUBJECTS.c.owner, [owner])]
        subject_ids = subject_ids or [self.subjects[owner]]
        here = WITHDRAWALS.c.subject_id.in_(subject_ids) & (WITHDRAWALS.c.purpose == purpose)
        withdrawn = {
            row.subject_id: row.withdrawn_ms for row in self.connection.execute(sa.select(WITHDRAWALS).where(here))
        }
        self.connection.execute(sa.delete(WITHDRAWALS).where(here))
        waiting = [r for r in self.new[WITHDRAWALS] if r["subject_id"] in subject_ids and r["purpose"] == purpose]
        withdrawn |= {row["subject_id"]: row["withdrawn_ms"] for row in waiting}
        self.new[WITHDRAWALS] = [row for row in self.new[WITHDRAWALS] if row not in waiting]
        for subject_id in subject_ids:
            at = withdrawn.get(subject_id, 0) if granted else self.now_ms
            row = {"subject_id": subject_id, "purpose": purpose, "withdrawn_ms": at, "is_standing": not granted}
            self.new[WITHDRAWALS].append({**row, "is_followed": False, "is_removed": False})

    def _join(self, owner: str, other: RawId) -> None:
        """Make an anonymous id this person's, unless it is already a known user's; what one of both said holds for both."""
        row = self._row(other)
        if row is None:
            self._link(other, owner, self._erased_ms(other))
            return
        former = row["owner"]
        kinds = [r["kind"] for r in self.new[IDENTIFIERS] if r["owner"] == former]
        kinds += [r.kind for r in self._select(IDENTIFIERS.c.owner, [former])]
        if former == owner or "user" in kinds:
            return
        self._flush()
        for table in (IDENTIFIERS, SUBJECTS, CONSENTS):
            self.connection.execute(sa.update(table).where(table.c.owner == former).values(owner=owner))
        for known in self.rows.values():
            known["owner"] = owner if known["owner"] == former else known["owner"]
        said = self.decisions[owner], self.decisions[former]
        self._read_owners({owner})
        self.new[CHANGES] += [{"owner": owner}, {"owner": former}]
        for purpose, now in self.decisions[owner].items():
            if any(purpose in one and one[purpose].granted != now.granted for one in said):
                self._follow(owner, purpose, granted=now.granted)

    def _flush(self) -> None:
        for table in (SUBJECTS, IDENTIFIERS, CONSENTS):
            if rows := self.new.pop(table, []):
                self.connection.execute(sa.insert(table), rows)

    def _new_owner(self) -> str:
        owner, secret = uuid.uuid4().hex, secrets.token_bytes(32)
        self.created.add(owner)
        self.subjects[owner], self.decisions[owner] = subject_id_of(secret, owner), {}
        self.new[SUBJECTS].append(
            {"subject_key": owner, "owner": owner, "secret": secret, "created_ms": self.now_ms},
        )
        return owner

    def _link(self, identifier: RawId, owner: str, not_before_ms: int) -> None:
        lookup = self.keys.lookup(identifier)
        row: dict[str, Any] = {
            "lookup": lookup,
            "key_id": self.keys.active_id,
            "kind": identifier.kind,
            "owner": owner,
        }
        row |= {"not_before_ms": not_before_ms, "linked_ms": self.now_ms}
        self.rows[lookup] = row
        self.new[IDENTIFIERS].append(row)

    def _read_owners(self, owners: set[str]) -> None:
        for row in self._select(SUBJECTS.c.subject_key, list(owners)):
            self.subjects[row.subject_key] = subject_id_of(row.secret, row.subject_key)
        history: dict[str, list[tuple[str, Decision]]] = {owner: [] for owner in owners}
        for row in self._select(CONSENTS.c.owner, list(owners), CONSENTS.c.number):
            history[row.owner].append((row.purpose, Decision(row.granted, row.at_ms, row.source)))
        self.decisions |= {owner: settle_all(rows) for owner, rows in history.items()}

    def _select(self, column: sa.Column[Any], values: Sequence[str], *order: Any) -> list[sa.Row[Any]]:
        found: list[sa.Row[Any]] = []
        for start in range(0, len(values), _CHUNK):
            chosen = sa.select(column.table).where(column.in_(values[start : start + _CHUNK])).order_by(*order)
            found += self.connection.execute(chosen).all()
        return found

    def _row(self, identifier: RawId) -> dict[str, Any] | None:
        return self.rows.get(self.keys.lookup(identifier))

    def _lookups(self, identifier: RawId) -> Iterable[tuple[str, str]]:
        return self.keys.lookups(identifier).items()
