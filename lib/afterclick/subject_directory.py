"""People in memory, in front of the subject store: the services' event loops never wait for a known person.

Bounded; another process's change drops the entry within `POLL_SECONDS`. Unknown people are not remembered: the next
message may make them known.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from afterclick.connectors.subject_store import SubjectStore
from afterclick.consent_rules import Claim, Decision, Person, settle
from afterclick.errors import StoreUnavailableError
from afterclick.pseudonyms import RawId

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
_SETTLING_SECONDS = 10.0
"""A change is looked at this long: a reader may put the old entry back, and a database may show numbers out of order."""


class _Seen(NamedTuple):
    owner: str
    at: float


class SubjectDirectory:
    """Answers from memory where it can, else from the store in a thread.

    Parameters
    ----------
    size
        Most people kept in memory; about 1 kB each.
    """

    def __init__(self, store: SubjectStore, *, size: int = 100_000) -> None:
        self._store = store
        self._size = size
        self._people: OrderedDict[str, Person] = OrderedDict()
        self._of_owner: dict[str, set[str]] = {}
        self._changes: dict[int, _Seen] = {}
        self._floor: int | None = None

    async def admit(self, claims: Sequence[Claim]) -> list[Person | None]:
        """Hear what messages say and return their people; see `SubjectStore.admit`."""
        lookups = [self._store.keys.lookup(claim.identifier) for claim in claims]
        known = [self._cached(lookup) for lookup in lookups]
        if not any(map(self._is_news, known, claims)):
            return list(known)
        people = await asyncio.to_thread(self._store.admit, claims)
        for lookup, claim, person in zip(lookups, claims, people, strict=True):
            self._keep(lookup, person)
            for other in claim.also if person else ():
                self._keep(self._store.keys.lookup(other), await self.find(other))
        return people

    async def find(self, identifier: RawId) -> Person | None:
        """Return a known person."""
        lookup = self._store.keys.lookup(identifier)
        person = self._cached(lookup)
        if person is None:
            person = await asyncio.to_thread(self._store.find, identifier)
            self._keep(lookup, person)
        return person

    async def follow_changes(self) -> None:
        """Drop entries that another process changed, for ever."""
        while True:
            try:
                await self.drop_changed()
            except StoreUnavailableError as error:
                logger.warning("changes of people not read: %s", error)
            await asyncio.sleep(POLL_SECONDS)

    async def drop_changed(self) -> None:
        """Drop entries that changed lately."""
        if self._floor is None:
            self._floor = await asyncio.to_thread(self._store.last_change)
        now = time.monotonic()
        for number, owner in (await asyncio.to_thread(self._store.changes_after, self._floor)).items():
            self._changes.setdefault(number, _Seen(owner, now))
        for number, seen in list(self._changes.items()):
            for lookup in self._of_owner.pop(seen.owner, ()):
                self._people.pop(lookup, None)
            if now - seen.at > _SETTLING_SECONDS:
                self._floor = max(self._floor, number)
                del self._changes[number]

    def _cached(self, lookup: str) -> Person | None:
        person = self._people.get(lookup)
        if person is not None:
            self._people.move_to_end(lookup)
        return person

    def _keep(self, lookup: str, person: Person | None) -> None:
        if person is None:
            return
        self._people[lookup] = person
        self._of_owner.setdefault(person.owner, set()).add(lookup)
        if len(self._people) > self._size:
            dropped, old = self._people.popitem(last=False)
            lookups = self._of_owner.get(old.owner, set())
            lookups.discard(dropped)
            if not lookups:
                self._of_owner.pop(old.owner, None)

    def _is_news(self, person: Person | None, claim: Claim) -> bool:
        """Tell whether a message says something that memory does not hold."""
        if person is None:
            return True
        for named in claim.also:
            other = self._people.get(self._store.keys.lookup(named))
            if other is None or other.owner != person.owner:
                return True
        for purpose, granted in claim.consent.items():
            before = person.decisions.get(purpose)
            if settle(before, Decision(granted, claim.at_ms, claim.source)) is not before:
                return True
        return False
