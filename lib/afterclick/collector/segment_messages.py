"""One message -> a draft of its event and what it says of its person.

Only what a later check could not see is refused here: its size, its frame, its person. The person's pseudonym and
consent come from the subject store (`subject_directory`); `Draft.event` puts both together.
"""

from dataclasses import dataclass
from datetime import datetime

from afterclick.collector.consent_signals import stated_consent
from afterclick.collector.event_fields import event_fields
from afterclick.collector.event_names import CALLS
from afterclick.collector.messages import Arrival, Event, Json, Message, Refused, as_text, encode
from afterclick.collector.request_bodies import depth_of
from afterclick.consent_rules import Claim, Person
from afterclick.pseudonyms import RawId
from afterclick.setting_sections import CollectorSettings
from afterclick.vocabulary import EventType


@dataclass(frozen=True)
class Draft:
    """A readable message whose person is not known yet."""

    claim: Claim
    fields: Json

    def event(self, person: Person | None) -> Event | None:
        """Return the event of a known person; None when they granted no purpose."""
        granted = person.granted_to(self.claim) if person else []
        if person is None or not granted:
            return None
        value = encode(self.fields | {"subject_id": person.subject_id, "consent": granted})
        return Event(person.subject_id.encode(), value)


def read_message(raw: bytes, arrival: Arrival, settings: CollectorSettings) -> Draft:
    """Return the draft of one message's event.

    Parameters
    ----------
    raw
        The message's own bytes in the wire format of `arrival`.

    Raises
    ------
    Refused
        If it is too large or deep, not of the format's types, of an unknown call, or names no person.
    """
    if len(raw) > settings.max_event_bytes:
        raise Refused(
            "event_too_large", f"the message has {len(raw)} bytes, at most {settings.max_event_bytes} are accepted"
        )
    if depth_of(raw, settings.max_depth) > settings.max_depth:
        raise Refused("too_deep", f"the message is nested deeper than {settings.max_depth} levels")
    message = arrival.decode(raw)
    call = arrival.call or message.type or ""
    if call not in CALLS:
        raise Refused("unknown_call", f"type {call[:40]!r} is not one of {', '.join(sorted(CALLS))}")
    identifier, also = _identifiers(message, call)
    fields = event_fields(message, call, raw, arrival)
    consent = stated_consent(message, arrival, settings)
    source = "consent_event" if fields["event_type"] == EventType.CONSENT else "event"
    return Draft(Claim(identifier, consent, _said_at(fields["event_at"], arrival.received_at), source, also), fields)


def _identifiers(message: Message, call: str) -> tuple[RawId, tuple[RawId, ...]]:
    """Return whose message it is, and with ``identify`` and ``alias`` which other id is theirs."""
    user, anonymous, previous = map(as_text, (message.user_id, message.anonymous_id, message.previous_id))
    if not (user or anonymous):
        raise Refused("no_subject", "the message has neither userId nor anonymousId")
    if not user:
        return RawId("anonymous", str(anonymous)), ()
    other = {"identify": anonymous, "alias": previous or anonymous}.get(call)
    return RawId("user", str(user)), (RawId("anonymous", str(other)),) if other else ()


def _said_at(event_at: str, received_at: datetime) -> int:
    """Return when it happened by our clock, in milliseconds; where that cannot be read, when it was received."""
    try:
        happened = datetime.fromisoformat(event_at)
    except ValueError:
        happened = received_at
    return int(min(happened if happened.tzinfo else received_at, received_at).timestamp() * 1000)
