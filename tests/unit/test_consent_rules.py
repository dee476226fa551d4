"""Which statement holds: newer over older, denial at a tie, an express denial over what pages repeat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterclick.consent_rules import Claim, Decision, Person, settle, settle_all
from afterclick.pseudonyms import RawId


def yes(at_ms: int, source: str = "event") -> Decision:
    return Decision(granted=True, at_ms=at_ms, source=source)


def no(at_ms: int, source: str = "event") -> Decision:
    return Decision(granted=False, at_ms=at_ms, source=source)


@pytest.mark.parametrize(
    ("old", "new", "holds"),
    [
        (None, yes(1), yes(1)),
        (None, no(1), no(1)),
        (yes(1), no(2), no(2)),
        (no(1), yes(2), yes(2)),
        (no(2), yes(1), no(2)),
        (yes(2), no(1), yes(2)),
        (yes(1), no(1), no(1)),
        (no(1), yes(1), no(1)),
        (yes(1), yes(2), yes(1)),
        (no(1, "api"), yes(2), no(1, "api")),
        (no(1, "api"), yes(2, "api"), yes(2, "api")),
        (yes(1, "api"), no(2), no(2)),
        (no(1), no(2, "api"), no(2, "api")),
        (no(1, "api"), no(2), no(1, "api")),
    ],
    ids=[
        "first_grant", "first_denial", "newer_denial", "newer_grant", "older_grant", "older_denial", "tie_denied_after",
        "tie_granted_after", "repeated", "page_cannot_lift_express_denial", "express_grant_lifts", "page_may_deny",
        "express_denial_strengthens", "express_denial_stays",
    ],
)  # fmt: skip
def test_settle(old: Decision | None, new: Decision, holds: Decision) -> None:
    assert settle(old, new) == holds


decisions = st.builds(Decision, st.booleans(), st.integers(0, 9), st.sampled_from(["event", "import", "api"]))


@given(st.lists(decisions, max_size=8), decisions.map(lambda d: d._replace(granted=True, source="event")))
def test_a_page_never_lifts_an_express_denial(history: list[Decision], grant: Decision) -> None:
    before = settle_all([("p", one) for one in history]).get("p")

    after = settle(before, grant)

    assert after.granted <= (before is None or before.granted or before.source != "api")


def test_granted_to_follows_the_state_and_the_message_s_own_denial() -> None:
    person = Person("o", "s", {"analytics": yes(1), "personalisation": yes(1), "ads": no(1)}, not_before_ms=5)
    who = RawId("user", "ada")

    assert person.granted_to(Claim(who, {}, 6)) == ["analytics", "personalisation"]
    assert person.granted_to(Claim(who, {"personalisation": False, "ads": True}, 6)) == ["analytics"]
    assert person.granted_to(Claim(who, {}, 5)) == []
