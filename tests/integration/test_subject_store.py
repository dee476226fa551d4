"""People in a real database, SQLite and PostgreSQL: pseudonyms, consent with history, joins, key rotation."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from afterclick.connectors.erasure_store import ErasureStore
from afterclick.connectors.kept_out import FOR_EVER, KeptOut
from afterclick.connectors.subject_store import SubjectStore
from afterclick.connectors.subject_tables import (
    CONSENTS,
    IDENTIFIERS,
    METADATA,
    SUBJECTS,
    SUPPRESSIONS,
    WITHDRAWALS,
    open_engine,
)
from afterclick.consent_rules import Claim, Person
from afterclick.errors import StoreUnavailableError
from afterclick.pseudonyms import PseudonymKeys, RawId

OLD, NEW = SecretStr("an-old-key-of-at-least-32-bytes!!"), SecretStr("a-new-key-of-at-least-32-bytes!!!")
ADA, EVE = RawId("user", "ada@example.org"), RawId("user", "eve@example.org")
PHONE, LAPTOP = RawId("anonymous", "phone"), RawId("anonymous", "laptop")
YES, NO = {"analytics": True, "personalisation": True}, {"analytics": False, "personalisation": False}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/subjects.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def store(url: str) -> Iterator[SubjectStore]:
    """Open an empty store whose clock counts milliseconds from 1000."""
    engine = open_engine(url)
    METADATA.drop_all(engine)
    ticks = count(1000)
    yield SubjectStore(engine, PseudonymKeys.of(NEW), clock=lambda: next(ticks) / 1000)
    engine.dispose()


def rows(store: SubjectStore, table: sa.Table) -> list[dict[str, object]]:
    with store.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(sa.select(table))]  # noqa: SLF001


def known(store: SubjectStore, identifier: RawId) -> Person:
    person = store.find(identifier)
    assert person is not None
    return person


def test_a_person_gets_one_random_pseudonym_and_no_raw_id_is_kept(store: SubjectStore) -> None:
    first, again, other = store.admit([Claim(ADA, YES, 1), Claim(ADA, YES, 2), Claim(EVE, YES, 3)])

    assert first == again
    assert first is not None
    assert other is not None
    assert first.subject_id != other.subject_id
    assert len(first.subject_id) == 32
    assert known(store, ADA) == first
    assert "example.org" not in str(rows(store, IDENTIFIERS) + rows(store, SUBJECTS) + rows(store, CONSENTS))


@pytest.mark.parametrize("consent", [{}, NO], ids=["silent", "denied"])
def test_nothing_is_kept_of_an_unknown_person_who_granted_nothing(
    store: SubjectStore, consent: dict[str, bool]
) -> None:
    assert store.admit([Claim(ADA, consent, 1)]) == [None]
    assert store.find(ADA) is None
    assert rows(store, IDENTIFIERS) == rows(store, SUBJECTS) == []


def test_an_express_denial_of_an_unknown_person_is_kept(store: SubjectStore) -> None:
    store.admit([Claim(ADA, NO, 1, "api"), Claim(ADA, YES, 2)])

    assert not known(store, ADA).allows("analytics")


def test_consent_is_kept_with_its_history_and_only_changes_are_written(store: SubjectStore) -> None:
    store.admit([Claim(ADA, YES, 1), Claim(ADA, YES, 2), Claim(ADA, {"personalisation": False}, 3, "api")])
    store.admit([Claim(ADA, YES, 4)])

    told = [(row["purpose"], row["granted"], row["at_ms"], row["source"]) for row in rows(store, CONSENTS)]
    assert told == [
        ("analytics", True, 1, "event"), ("personalisation", True, 1, "event"), ("personalisation", False, 3, "api"),
    ]  # fmt: skip
    assert (known(store, ADA).allows("analytics"), known(store, ADA).allows("personalisation")) == (True, False)


def test_a_withdrawal_stands_until_a_new_grant_and_waits_for_the_cache(store: SubjectStore) -> None:
    store.admit([Claim(ADA, YES, 1)])
    subject_id = known(store, ADA).subject_id
    store.admit([Claim(ADA, {"analytics": False}, 2)])

    assert [(r["subject_id"], r["purpose"], r["is_standing"]) for r in rows(store, WITHDRAWALS)] == [
        (subject_id, "analytics", True)
    ]
    withdrawn_ms = rows(store, WITHDRAWALS)[0]["withdrawn_ms"]
    store.mark_followed([row.number for row in store.unfollowed()])
    assert store.unfollowed() == []

    store.admit([Claim(ADA, {"analytics": True}, 3)])

    assert [(r["withdrawn_ms"], r["is_standing"]) for r in rows(store, WITHDRAWALS)] == [(withdrawn_ms, False)]


def test_identify_joins_an_anonymous_person_with_both_pseudonyms(store: SubjectStore) -> None:
    phone = store.admit([Claim(PHONE, YES, 1)])[0]
    assert phone is not None

    ada = store.admit([Claim(ADA, YES, 2, also=(PHONE,))])[0]

    assert ada is not None
    assert known(store, PHONE).subject_id == ada.subject_id
    assert set(store.subject_ids(ada.owner)) == {phone.subject_id, ada.subject_id}


def test_join_links_an_unseen_id_and_leaves_another_known_user_s(store: SubjectStore) -> None:
    store.admit([Claim(ADA, YES, 1, also=(PHONE,)), Claim(EVE, YES, 2, also=(PHONE, LAPTOP))])

    assert known(store, PHONE).owner == known(store, ADA).owner
    assert known(store, LAPTOP).owner == known(store, EVE).owner


def test_join_in_one_batch_with_the_first_event_of_both(store: SubjectStore) -> None:
    people = store.admit([Claim(PHONE, YES, 1), Claim(ADA, YES, 2, also=(PHONE,)), Claim(PHONE, {}, 3)])

    assert people[1] is not None
    assert people[2] is not None
    assert people[1].subject_id == people[2].subject_id


def test_a_withdrawal_after_a_join_covers_every_pseudonym(store: SubjectStore) -> None:
    store.admit([Claim(PHONE, YES, 1), Claim(ADA, YES, 2, also=(PHONE,)), Claim(ADA, NO, 3)])

    withdrawn = {(row["subject_id"], row["purpose"]) for row in rows(store, WITHDRAWALS)}
    ids = store.subject_ids(known(store, ADA).owner)
    assert withdrawn == {(one, purpose) for one in ids for purpose in YES}
    assert len(ids) == 2


def test_rotation_keeps_the_pseudonym_and_moves_the_entry_to_the_new_key(url: str, store: SubjectStore) -> None:
    before = SubjectStore(open_engine(url), PseudonymKeys.of(OLD)).admit([Claim(ADA, YES, 1), Claim(EVE, YES, 1)])[0]
    rotating = SubjectStore(open_engine(url), PseudonymKeys.of(NEW, OLD))
    assert before is not None

    assert known(rotating, ADA).subject_id == before.subject_id
    rotating.admit([Claim(ADA, YES, 2)])

    assert known(store, ADA).subject_id == before.subject_id
    assert store.find(EVE) is None
    assert sorted(str(row["key_id"]) for row in rows(store, IDENTIFIERS)) == sorted(PseudonymKeys.of(NEW, OLD).keys)


def test_two_processes_admit_the_same_new_person_once(url: str, store: SubjectStore) -> None:
    found: list[Person | None] = []
    store.find(ADA)
    others = [SubjectStore(open_engine(url), PseudonymKeys.of(NEW)) for _ in range(4)]
    threads = [threading.Thread(target=lambda o=other: found.extend(o.admit([Claim(ADA, YES, 1)]))) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({person.subject_id for person in found if person}) == 1
    assert len(found) == 4


def test_a_database_that_is_away_is_said_without_its_values() -> None:
    away = SubjectStore(open_engine("postgresql+psycopg://user:secret@127.0.0.1:1/none"), PseudonymKeys.of(NEW))

    with pytest.raises(StoreUnavailableError, match="subject store does not answer") as raised:
        away.admit([Claim(ADA, YES, 1)])
    assert "secret" not in str(raised.value)


def test_erasure_cuts_the_link_and_keeps_hmacs_only(store: SubjectStore) -> None:
    store.admit([Claim(PHONE, YES, 1), Claim(ADA, YES, 2, also=(PHONE,)), Claim(EVE, YES, 3), Claim(ADA, NO, 4)])
    ada, eve = known(store, ADA), known(store, EVE)
    pseudonyms = set(store.subject_ids(ada.owner))
    erasures = ErasureStore(store)

    begun = erasures.begin(ADA)

    assert begun is not None
    assert set(begun.subject_ids) == pseudonyms
    assert len(pseudonyms) == 2
    assert erasures.begin(ADA) is None
    assert (store.find(ADA), store.find(PHONE)) == (None, None)
    assert known(store, EVE) == eve
    left = str([rows(store, table) for table in (IDENTIFIERS, SUBJECTS, CONSENTS, WITHDRAWALS, SUPPRESSIONS)])
    hidden = {*pseudonyms, store.keys.lookup(ADA), store.keys.lookup(PHONE)}
    assert not [one for one in hidden if one in left]
    assert erasures.receipts(begun.erasure_id)["subject_store"].clean_ms
    erasures.end_search(begun.erasure_id)
    assert list(erasures.read(begun.erasure_id)[0].subject_ids) == []


def test_two_erasures_of_a_person_at_once_are_one(store: SubjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.admit([Claim(ADA, YES, 1)])
    find, both, calls = store.find, threading.Barrier(2), count()
    monkeypatch.setattr(store, "find", lambda who: (find(who), next(calls) < 2 and both.wait(10))[0])
    with ThreadPoolExecutor(2) as threads:
        begun = list(threads.map(ErasureStore(store).begin, [ADA, ADA]))

    assert sorted(one is None for one in begun) == [False, True]


def test_who_is_joined_with_somebody_while_they_are_erased_is_erased(
    url: str, store: SubjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.admit([Claim(PHONE, YES, 1)])
    find, other, calls = store.find, SubjectStore(open_engine(url), PseudonymKeys.of(NEW)), count()

    def joined_meanwhile(who: RawId) -> Person | None:
        found = find(who)
        if next(calls) == 0:
            other.admit([Claim(ADA, YES, 2, also=(PHONE,))])
        return found

    monkeypatch.setattr(store, "find", joined_meanwhile)

    assert ErasureStore(store).begin(PHONE) is not None
    assert find(ADA) is None


def test_what_happened_before_an_erasure_stays_out_and_the_person_may_come_back(store: SubjectStore) -> None:
    first = store.admit([Claim(ADA, YES, 1)])[0]
    ErasureStore(store).begin(ADA)
    erased_ms = store.now_ms()

    assert store.admit([Claim(ADA, YES, 900, "import")]) == [None]
    again = store.admit([Claim(ADA, YES, erased_ms)])[0]

    assert first is not None
    assert again is not None
    assert again.subject_id != first.subject_id
    assert again.granted_to(Claim(ADA, {}, 900)) == []
    assert again.granted_to(Claim(ADA, {}, erased_ms)) == ["analytics", "personalisation"]


def test_streams_are_told_who_is_kept_out_and_until_when(store: SubjectStore) -> None:
    store.admit([Claim(ADA, YES, 1), Claim(EVE, YES, 1), Claim(LAPTOP, YES, 1)])
    ada, eve, laptop = (known(store, who).subject_id for who in (ADA, EVE, LAPTOP))
    store.admit([Claim(ADA, {"personalisation": False}, 2, "api"), Claim(EVE, {"personalisation": False}, 2)])
    store.admit([Claim(EVE, {"personalisation": True}, 3)])
    ErasureStore(store).begin(LAPTOP)
    kept_out = KeptOut(store)
    assert kept_out.is_empty

    kept_out.refresh()

    until = kept_out.until_ms([ada, eve, laptop, "other"], "personalisation").tolist()
    assert (until[0], until[2:]) == (FOR_EVER, [FOR_EVER, 0])
    assert 0 < until[1] < FOR_EVER
    assert kept_out.until_ms([ada, laptop], "analytics").tolist() == [0, FOR_EVER]


def test_who_allows_it_again_is_let_in_by_the_next_batch_and_not_a_second_later(store: SubjectStore) -> None:
    store.admit([Claim(ADA, YES, 1)])
    ada, kept_out = known(store, ADA).subject_id, KeptOut(store)
    store.admit([Claim(ADA, {"personalisation": False}, 2)])
    kept_out.refresh()
    assert kept_out.until_ms([ada], "personalisation").tolist() == [FOR_EVER]
    store.admit([Claim(ADA, YES, 3)])

    kept_out.refresh()  # within the second: what is known is old

    assert 0 < kept_out.until_ms([ada], "personalisation")[0] < FOR_EVER
