"""Which of two statements about consent holds, and what a person allows. No I/O.

Precedence: a newer statement replaces an older one, and of two at the same time the denial holds. A denial said
expressly (through the API or the command) is lifted only by an express grant: the consent context that a page sends
along with its events repeats what its banner once stored. What was never said is denied.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from afterclick.pseudonyms import RawId

EXPRESS_SOURCES = frozenset({"api", "command", "consent_event"})
"""Where a person's own, separate statement comes from; every other source travels with events."""


class Decision(NamedTuple):
    """What was said about one purpose, when by our clock (milliseconds since the epoch), and by which way."""

    granted: bool
    at_ms: int
    source: str


class Claim(NamedTuple):
    """What one message says of its person.

    Parameters
    ----------
    consent
        By purpose; a purpose the message does not speak of is absent.
    at_ms
        When it was said, never later than its receipt.
    also
        Other ids of the same person (identify, alias).
    """

    identifier: RawId
    consent: Mapping[str, bool]
    at_ms: int
    source: str = "event"
    also: tuple[RawId, ...] = ()


class Person(NamedTuple):
    """A known person.

    Parameters
    ----------
    owner
        Their name inside the subject store.
    not_before_ms
        An earlier life under this identifier was erased: what happened until then stays out.
    """

    owner: str
    subject_id: str
    decisions: Mapping[str, Decision]
    not_before_ms: int = 0

    def allows(self, purpose: str) -> bool:
        """Tell whether the person granted a purpose."""
        decision = self.decisions.get(purpose)
        return decision is not None and decision.granted

    def granted_to(self, claim: Claim) -> list[str]:
        """Return the purposes that a message may be used for: granted, and not denied in the message itself."""
        if claim.at_ms <= self.not_before_ms:
            return []
        return [p for p in sorted(self.decisions) if self.decisions[p].granted and claim.consent.get(p, True)]


def settle(old: Decision | None, new: Decision) -> Decision:
    """Return the decision that holds after `new` was heard; `old` itself when nothing changes."""
    if old is None:
        return new
    is_express = new.source in EXPRESS_SOURCES
    if new.at_ms < old.at_ms or (new.at_ms == old.at_ms and new.granted and not old.granted):
        return old
    if new.granted == old.granted:
        return new if is_express and old.source not in EXPRESS_SOURCES else old
    if new.granted and old.source in EXPRESS_SOURCES and not is_express:
        return old
    return new


def settle_all(history: Iterable[tuple[str, Decision]]) -> dict[str, Decision]:
    """Return what holds after a history of (purpose, decision), in the order it was heard."""
    decisions: dict[str, Decision] = {}
    for purpose, decision in history:
        decisions[purpose] = settle(decisions.get(purpose), decision)
    return decisions
