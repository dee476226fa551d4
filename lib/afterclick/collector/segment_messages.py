"""One message -> a draft of its event and what it says of its person.

Only what a later check could not see is refused here: its size, its frame, its person. The person's pseudonym and
consent come from the subject store (`subject_directory`); `Draft.event` puts both together.
"""

import msgspec

from afterclick.collector.consent_signals import stated_consent
from afterclick.collector.event_fields import event_fields
from afterclick.collector.event_names import CALLS
from afterclick.collector.event_times import corrected_time
from afterclick.collector.messages import Arrival, Event, Json, Message, Refused, as_text, encode
from afterclick.collector.request_bodies import depth_of
from afterclick.consent_rules import Claim, Person
from afterclick.pseudonyms import RawId
from afterclick.setting_sections import CollectorSettings
from afterclick.vocabulary import EventType


class Draft(msgspec.Struct, frozen=True):
    """A readable message whose person is not known yet."""

    claim: Claim
    fields: Json

    def event(self, person: Person | None) -> Event | None:
        """Return the event of a known person; None when they granted no purpose."""
        granted = person.granted_to(self.claim) if person else []
        if person is None or not granted:
            return None
        value = encode({**self.fields, "subject_id": person.subject_id, "consent": granted})
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
    happened = corrected_time(message, arrival)
    fields = event_fields(message, call, raw, arrival, happened.text)
    consent = stated_consent(message, arrival, settings)
    source = "consent_event" if fields["event_type"] is EventType.CONSENT else "event"
    return Draft(Claim(identifier, consent, happened.at_ms, source, also), fields)


def _identifiers(message: Message, call: str) -> tuple[RawId, tuple[RawId, ...]]:
    """Return whose message it is, and with ``identify`` and ``alias`` which other id is theirs."""
    user, anonymous = as_text(message.user_id), as_text(message.anonymous_id)
    if not (user or anonymous):
        raise Refused("no_subject", "the message has neither userId nor anonymousId")
    if not user:
        return RawId("anonymous", anonymous), ()
    other = None
    if call == "identify":
        other = anonymous
    elif call == "alias":
        other = as_text(message.previous_id) or anonymous
    return RawId("user", user), (RawId("anonymous", other),) if other else ()
