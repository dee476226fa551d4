"""Known people come from memory; what another process changed is dropped; the size is bounded."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from afterclick import subject_directory
from afterclick.connectors.subject_store import SubjectStore
from afterclick.connectors.subject_tables import open_engine
from afterclick.consent_rules import Claim, Person
from afterclick.pseudonyms import PseudonymKeys, RawId
from afterclick.subject_directory import SubjectDirectory

ADA = RawId("user", "ada")
YES = {"personalisation": True}


class CountingStore(SubjectStore):
    """Counts how often it is asked."""

    asked = 0

    def admit(self, claims: list[Claim]) -> list[Person | None]:  # type: ignore[override]  # the tests pass lists
        self.asked += 1
        return super().admit(claims)

    def find(self, identifier: RawId) -> Person | None:
        self.asked += 1
        return super().find(identifier)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(open_engine(f"sqlite:///{tmp_path}/s.db"), PseudonymKeys.of(SecretStr("k" * 32)))


def test_a_known_person_comes_from_memory_until_they_say_something_new(store: CountingStore) -> None:
    directory = SubjectDirectory(store)

    async def run() -> None:
        first = await directory.admit([Claim(ADA, YES, 1)])
        assert await directory.admit([Claim(ADA, YES, 2), Claim(ADA, {}, 3)]) == first * 2
        assert await directory.find(ADA) == first[0]
        assert store.asked == 1
        after = await directory.admit([Claim(ADA, {"personalisation": False}, 4)])
        assert after[0] is not None
        assert not after[0].allows("personalisation")
        assert store.asked == 2

    asyncio.run(run())


def test_an_unknown_person_is_asked_for_each_time(store: CountingStore) -> None:
    directory = SubjectDirectory(store)

    async def run() -> None:
        assert [await directory.find(ADA), await directory.find(ADA)] == [None, None]

    asyncio.run(run())
    assert store.asked == 2


def test_a_change_by_another_process_is_seen_with_the_next_look(store: CountingStore) -> None:
    directory = SubjectDirectory(store)

    async def run() -> bool:
        await directory.admit([Claim(ADA, YES, 1)])
        await directory.drop_changed()
        store.admit([Claim(ADA, {"personalisation": False}, 2)])
        await directory.drop_changed()
        person = await directory.find(ADA)
        return person is not None and person.allows("personalisation")

    assert not asyncio.run(run())


def test_a_reader_that_puts_the_old_entry_back_is_corrected(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = SubjectDirectory(store)

    async def run() -> bool:
        old = await directory.admit([Claim(ADA, YES, 1)])
        await directory.drop_changed()
        store.admit([Claim(ADA, {"personalisation": False}, 2)])
        await directory.drop_changed()
        directory._keep(store.keys.lookup(ADA), old[0])  # noqa: SLF001 - what a slow reader does
        await directory.drop_changed()
        person = await directory.find(ADA)
        return person is not None and person.allows("personalisation")

    assert not asyncio.run(run())
    monkeypatch.setattr(subject_directory, "_SETTLING_SECONDS", -1.0)
    asyncio.run(directory.drop_changed())
    assert directory._floor == store.last_change()  # noqa: SLF001 - it does not look at old changes for ever


def test_memory_is_bounded(store: CountingStore) -> None:
    directory = SubjectDirectory(store, size=3)

    async def run() -> None:
        for number in range(10):
            await directory.admit([Claim(RawId("user", str(number)), YES, 1)])

    asyncio.run(run())
    assert len(directory._people) == len(directory._of_owner) == 3  # noqa: SLF001
