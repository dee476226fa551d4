"""What people allow, whoever says it and whenever their ids are joined: streams and other processes are told."""

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from afterclick.connectors.kept_out import FOR_EVER, KeptOut
from afterclick.connectors.subject_store import SubjectStore
from afterclick.connectors.subject_tables import METADATA, open_engine
from afterclick.consent_rules import Claim
from afterclick.pseudonyms import PseudonymKeys, RawId
from afterclick.subject_directory import SubjectDirectory

ADA, PHONE, LAPTOP = RawId("user", "ada"), RawId("anonymous", "phone"), RawId("anonymous", "laptop")
KEYS = PseudonymKeys.of(SecretStr("a-key-of-at-least-32-bytes-length"))
ANALYTICS, PERSONALISATION = "analytics", "personalisation"
YES, NO = {ANALYTICS: True}, {ANALYTICS: False}
claims = st.builds(
    Claim,
    st.sampled_from([ADA, PHONE, LAPTOP]),
    st.sampled_from([{}, YES, NO, {PERSONALISATION: True}, {ANALYTICS: True, PERSONALISATION: False}]),
    st.integers(1, 900),
    st.sampled_from(["event", "api"]),
    st.sampled_from([(), (), (PHONE,), (LAPTOP,)]),
)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], SubjectStore]:
    """Return what empties a database and opens it, with a clock that counts milliseconds from 1000."""
    engine = open_engine(f"sqlite:///{tmp_path}/subjects.db")

    def empty() -> SubjectStore:
        METADATA.drop_all(engine)
        ticks = count(1000)
        return SubjectStore(engine, KEYS, clock=lambda: next(ticks) / 1000)

    return empty


def left_out_until(store: SubjectStore, subject_id: str, purpose: str) -> int:
    kept_out = KeptOut(store)
    kept_out.refresh()
    return int(kept_out.until_ms([subject_id], purpose)[0])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(said=st.lists(claims, max_size=8), at_once=st.booleans())
def test_streams_leave_out_for_ever_who_has_rows_and_allows_no_more_and_nobody_else(
    opened: Callable[[], SubjectStore], said: list[Claim], at_once: bool
) -> None:
    store, stored = opened(), set()
    for batch in [said] if at_once else [[one] for one in said]:
        for claim, person in zip(batch, store.admit(batch), strict=True):
            stored |= {(person.subject_id, purpose) for purpose in person.granted_to(claim)} if person else set()

    people = [person for person in map(store.find, (ADA, PHONE, LAPTOP)) if person]

    for person in people:
        for subject_id in store.subject_ids(person.owner):
            for purpose in (ANALYTICS, PERSONALISATION):
                is_left_out = left_out_until(store, subject_id, purpose) == FOR_EVER
                if (subject_id, purpose) in stored:
                    assert is_left_out is not person.allows(purpose)
                assert not (is_left_out and person.allows(purpose))


def test_who_allowed_it_elsewhere_before_signing_in_is_left_out_until_then_only(
    opened: Callable[[], SubjectStore],
) -> None:
    store = opened()
    store.admit([Claim(ADA, YES, 1), Claim(ADA, NO, 2), Claim(LAPTOP, YES, 3)])

    joined = store.admit([Claim(ADA, YES, 4, also=(LAPTOP,))])[0]

    assert joined is not None
    assert joined.allows(ANALYTICS)
    assert 1000 <= left_out_until(store, joined.subject_id, ANALYTICS) < FOR_EVER


def test_a_first_grant_of_a_further_purpose_reaches_other_processes(opened: Callable[[], SubjectStore]) -> None:
    store = opened()

    async def tell() -> tuple[bool, bool]:
        directory = SubjectDirectory(SubjectStore(store._engine, KEYS))  # noqa: SLF001 - the same database
        await directory.admit([Claim(ADA, YES, 1)])
        await directory.drop_changed()
        store.admit([Claim(ADA, {PERSONALISATION: True}, 2, "command")])
        before = await directory.find(ADA)
        await directory.drop_changed()
        after = await directory.find(ADA)
        assert before is not None
        assert after is not None
        return before.allows(PERSONALISATION), after.allows(PERSONALISATION)

    assert asyncio.run(tell()) == (False, True)
    assert store.last_change() == 1  # of a new person there is nothing that anybody could remember
