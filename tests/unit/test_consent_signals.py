"""Consent from what clients send: precedence, denial first, unknown denied; the TC string bit by bit."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from afterclick.collector.consent_signals import stated_consent
from afterclick.collector.messages import Arrival, Context, Message
from afterclick.collector.tcf import TcfError, decode_purposes
from afterclick.setting_sections import CollectorSettings

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
RULES = CollectorSettings()
BOTH = ["analytics", "personalisation"]


def tc_string(purposes: set[int], *, at: datetime = AT, version: int = 2, vendors: str | None = None) -> str:
    """Encode a core segment as the specification lists its fields."""
    deciseconds = int(at.timestamp() * 10)
    fields = [(version, 6), (deciseconds, 36), (deciseconds, 36), (10, 12), (1, 12), (1, 6), (3, 6), (4, 6), (48, 12)]
    fields += [(4, 6), (1, 1), (0, 1), (0, 12)]
    bits = "".join(f"{value:0{width}b}" for value, width in fields)
    bits += "".join("1" if number in purposes else "0" for number in range(1, 25))
    bits += "0" * 24 + "0" + f"{3:06b}{4:06b}"
    bits += (vendors or f"{0:016b}0") + f"{0:016b}0" + f"{0:012b}"
    bits += "0" * (-len(bits) % 8)
    return base64.urlsafe_b64encode(int(bits, 2).to_bytes(len(bits) // 8)).decode().rstrip("=")


def granted(consent: dict[str, Any] | None = None, *, gpc: bool = False, management: Any = None) -> list[str]:
    message = Message(context=Context(consent=consent, consent_management=management))
    stated = stated_consent(message, Arrival(AT, opts_out=gpc), RULES)
    return [purpose for purpose, is_granted in stated.items() if is_granted]


ALL = tc_string({1, 5, 6, 8})


@pytest.mark.parametrize(
    ("consent", "expected"),
    [
        (None, []),
        ({}, []),
        ({"categoryPreferences": {"analytics": True, "personalisation": True}}, BOTH),
        ({"categoryPreferences": {"analytics": False, "Personalization": True}}, ["personalisation"]),
        ({"categoryPreferences": {"personalisation": True, "personalization": False}}, []),
        ({"categoryPreferences": {"analytics": "yes"}}, []),
        ({"categoryPreferences": ["analytics"]}, []),
        ({"tcString": ALL}, BOTH),
        ({"tcString": tc_string({1, 8})}, ["analytics"]),
        ({"tcString": tc_string({5, 6, 8})}, []),
        ({"tcString": "rubbish"}, []),
        ({"tcString": 7}, []),
        ({"google": {"analytics_storage": "granted", "personalization_storage": "denied"}}, ["analytics"]),
        ({"google": {"personalization_storage": "granted", "ad_personalization": "denied"}}, []),
        ({"google": {"analytics_storage": "yes"}}, []),
    ],
    ids=[
        "nothing", "empty", "categories", "each_its_own", "denial_outweighs", "not_true", "not_an_object", "tcf",
        "tcf_analytics_only", "tcf_without_storage", "tcf_unreadable", "tcf_not_text", "google", "google_ad_denied",
        "google_unknown_word",
    ],
)  # fmt: skip
def test_stated_consent_of_one_source(consent: dict[str, Any] | None, expected: list[str]) -> None:
    assert granted(consent) == expected


@pytest.mark.parametrize(
    ("consent", "expected"),
    [
        ({"categoryPreferences": {"analytics": True}, "tcString": tc_string(set())}, ["analytics"]),
        ({"categoryPreferences": {"analytics": False}, "tcString": ALL}, ["personalisation"]),
        ({"tcString": tc_string(set()), "google": {"analytics_storage": "granted"}}, []),
        ({"tcString": "rubbish", "google": {"analytics_storage": "granted"}}, []),
    ],
    ids=["categories_before_tcf", "purpose_by_purpose", "tcf_before_google", "unreadable_tcf_denies"],
)
def test_stated_consent_takes_the_first_source_that_speaks(consent: dict[str, Any], expected: list[str]) -> None:
    assert granted(consent) == expected


def test_stated_consent_denies_personalisation_to_a_browser_that_opts_out() -> None:
    assert granted({"categoryPreferences": {"analytics": True, "personalisation": True}}, gpc=True) == ["analytics"]


def test_stated_consent_reads_rudderstack_consent_management() -> None:
    management = {"allowedConsentIds": ["analytics", "personalisation"], "deniedConsentIds": ["personalisation"]}

    assert granted(management=management) == ["analytics"]


def test_stated_consent_denies_what_one_field_of_the_site_denies_and_another_grants() -> None:
    management = {"allowedConsentIds": BOTH}

    assert granted({"categoryPreferences": {"analytics": True, "personalisation": False}}, management=management) == [
        "analytics"
    ]


def test_stated_consent_takes_the_batch_only_when_the_message_is_silent() -> None:
    shared = Context(consent={"categoryPreferences": {"analytics": True}})
    denied = Context(consent={"categoryPreferences": {"analytics": False}})

    assert stated_consent(Message(context=Context()), Arrival(AT, context=shared), RULES) == {"analytics": True}
    assert stated_consent(Message(context=denied), Arrival(AT, context=shared), RULES) == {"analytics": False}


def test_decode_purposes_returns_every_purpose() -> None:
    assert decode_purposes(tc_string({1, 2, 24}), AT) == {1, 2, 24}


def test_decode_purposes_reads_a_string_of_the_specification() -> None:
    """The example of IAB's own document: version 2, vendor ranges and a segment of allowed vendors."""
    text = "COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA.IBAgAAAgAIAwgAgAAAAEAAAACA"

    assert decode_purposes(text, datetime(2021, 2, 3, tzinfo=UTC)) == {2, 10}


@pytest.mark.parametrize(
    "vendors",
    [f"{5:016b}0" + "10101", f"{9:016b}1{2:012b}0{3:016b}1{5:016b}{9:016b}"],
    ids=["bit_field", "ranges"],
)
def test_decode_purposes_passes_vendors_over(vendors: str) -> None:
    assert decode_purposes(tc_string({1}, vendors=vendors), AT) == {1}


@pytest.mark.parametrize(
    "text",
    [
        "", "=", ALL[:-1] + "=", ALL[:30], ALL + "B", ALL + ".", ALL + ".AAAA", "x" * 9000, None, 12,
        tc_string({1}, version=1), tc_string({1}, at=AT + timedelta(days=2)), tc_string({1}, at=AT - timedelta(days=400)),
        tc_string({1}, vendors=f"{9:016b}1{1:012b}1{5:016b}{4:016b}"), tc_string({1}, vendors=f"{4:016b}1{1:012b}0{5:016b}"),
    ],
)  # fmt: skip
def test_decode_purposes_refuses(text: Any) -> None:
    with pytest.raises(TcfError):
        decode_purposes(text, AT)


def test_context_takes_consent_from_json() -> None:
    context = msgspec.json.decode(b'{"consentManagement": {"allowedConsentIds": ["analytics"]}}', type=Context)

    assert context.consent_management == {"allowedConsentIds": ["analytics"]}
