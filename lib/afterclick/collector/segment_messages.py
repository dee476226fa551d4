"""One message -> one event: who, whether they agreed, then its fields.

Only what a later check could not see is refused here: its size, its frame, its person.
"""

from afterclick.collector.consent_signals import granted_purposes
from afterclick.collector.event_fields import event_fields
from afterclick.collector.event_names import CALLS
from afterclick.collector.messages import Arrival, Event, Message, Refused, as_text, encode
from afterclick.collector.request_bodies import depth_of
from afterclick.pseudonyms import pseudonym
from afterclick.setting_sections import CollectorSettings


def read_message(raw: bytes, arrival: Arrival, settings: CollectorSettings, key: bytes) -> Event | None:
    """Return the event of one message; None when its person granted no purpose.

    Parameters
    ----------
    raw
        The message's own bytes in the wire format of `arrival`.
    key
        Pseudonym key.

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
    granted = granted_purposes(message, arrival, settings)
    if not granted:
        return None
    subject_id = _subject(message, key)
    fields = event_fields(message, call, raw, arrival)
    return Event(subject_id.encode(), encode(fields | {"subject_id": subject_id, "consent": granted}))


def _subject(message: Message, key: bytes) -> str:
    for kind, identifier in (("user", message.user_id), ("anonymous", message.anonymous_id)):
        if text := as_text(identifier):
            return pseudonym(str(text), kind=kind, key=key)
    raise Refused("no_subject", "the message has neither userId nor anonymousId")
