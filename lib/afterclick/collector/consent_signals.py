"""What a message says about its person's consent.

For each purpose the first of these that speaks of it decides; where nobody speaks, what the person said before holds
(`consent_rules`), else it is denied.

1. ``Sec-GPC: 1`` of the browser denies personalisation.
2. The site's own categories: ``context.consent.categoryPreferences`` (Segment), ``context.consentManagement`` (RudderStack).
3. The IAB TCF string, ``context.consent.tcString``. One that cannot be read denies everything.
4. Google consent mode, ``context.consent.google``: ``granted`` or ``denied`` per storage type.

Inside one source a denial outweighs a grant.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from afterclick.collector.messages import Arrival, Context, Json, Message
from afterclick.collector.tcf import TcfError, decode_purposes
from afterclick.setting_sections import CollectorSettings
from afterclick.vocabulary import Purpose

Verdict = bool | None

TCF_PURPOSES = {Purpose.ANALYTICS: (1, 8), Purpose.PERSONALISATION: (1, 5, 6)}
"""Store on a device, measure content performance; create profiles for and select personalised content."""
GOOGLE_TYPES = {
    Purpose.ANALYTICS: ("analytics_storage",),
    Purpose.PERSONALISATION: ("personalization_storage", "ad_personalization"),
}
"""Consent mode, version 2; ``ad_personalization`` counts where it is sent."""


_PURPOSES = [(purpose, purpose.value) for purpose in Purpose]
_SAYS_NOTHING = Context()


def stated_consent(message: Message, arrival: Arrival, settings: CollectorSettings) -> dict[str, bool]:
    """Return what is granted and what is denied, by purpose; a purpose of which nothing is said is absent."""
    context = _speaking(message.context) or _speaking(arrival.context) or _SAYS_NOTHING
    consent = context.consent or {}
    choices = _choices(consent, context.consent_management or {})
    said: dict[str, bool] = {}
    for purpose, value in _PURPOSES:
        verdict = _verdict([choices.get(name) for name in settings.consent_categories.get(value, ())])
        if arrival.opts_out and purpose is Purpose.PERSONALISATION:
            verdict = False
        elif verdict is None:
            verdict = _standards_verdict(consent, purpose, arrival.received_at)
        if verdict is not None:
            said[value] = verdict
    return said


def _speaking(context: Context | None) -> Context | None:
    return context if context and (context.consent or context.consent_management) else None


def _standards_verdict(consent: Json, purpose: Purpose, now: datetime) -> Verdict:
    """Return what the TCF string says, else Google's consent mode."""
    verdict = _tcf_verdict(consent.get("tcString"), purpose, now)
    return _google_verdict(consent.get("google"), purpose) if verdict is None else verdict


def _choices(consent: Json, management: Json) -> Json:
    """Return the site's categories with True or False; anything else that is said of one is no grant, nor is a contradiction."""
    preferences = consent.get("categoryPreferences")
    choices = dict(preferences) if isinstance(preferences, dict) else {}
    for name, choice in (("allowedConsentIds", True), ("deniedConsentIds", False)):
        named = management.get(name)
        for category in named if isinstance(named, list) else ():
            if isinstance(category, str):
                choices[category] = choice and choices.get(category, True) is True
    return choices


def _verdict(said: Iterable[Any]) -> Verdict:
    """Return whether all that is said grants; None when nothing is said."""
    verdict = None
    for value in said:
        if value is not None:
            verdict = verdict is not False and value is True
    return verdict


def _tcf_verdict(text: Any, purpose: Purpose, now: datetime) -> Verdict:
    if text is None:
        return None
    try:
        allowed = decode_purposes(text, now)
    except TcfError:
        return False
    return allowed.issuperset(TCF_PURPOSES[purpose])


def _google_verdict(states: Any, purpose: Purpose) -> Verdict:
    if not isinstance(states, dict):
        return None
    said = [states.get(name) for name in GOOGLE_TYPES[purpose]]
    return _verdict(state == "granted" for state in said if state is not None)
