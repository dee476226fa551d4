"""Keys: only hashes are kept, scopes, overlap at rotation, revocation; and each key's own rate."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from afterclick.access_keys import KeyRing, Scope
from afterclick.collector.rate_limits import RateLimits
from afterclick.connectors.key_store import KeyStore
from afterclick.errors import SettingsError, StoreUnavailableError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(f"sqlite:///{tmp_path}/new/keys.db")


def test_the_key_itself_is_not_kept(store: KeyStore, tmp_path: Path) -> None:
    _, key = store.create({Scope.INGEST}, NOW)

    assert key.encode() not in (tmp_path / "new" / "keys.db").read_bytes()


def test_a_key_opens_its_scopes_only(store: KeyStore) -> None:
    record, key = store.create({Scope.READ}, NOW, events_per_second=5)
    ring = KeyRing(["static"], store, NOW)

    assert ring.find(key, Scope.READ, NOW) == record
    assert ring.find(key, Scope.INGEST, NOW) is None
    assert ring.find("static", Scope.INGEST, NOW) is not None
    assert ring.find("static", Scope.ADMIN, NOW) is None
    assert ring.find(None, Scope.INGEST, NOW) is None


def test_both_keys_open_until_the_old_one_ends(store: KeyStore) -> None:
    record, old = store.create({Scope.INGEST}, NOW)
    _, new = store.rotate(record.key_id, NOW, NOW + timedelta(hours=1))
    ring = KeyRing([], store, NOW)

    just_before, at_the_end = NOW + timedelta(minutes=59, seconds=59), NOW + timedelta(hours=1)
    assert [ring.find(key, Scope.INGEST, just_before) is not None for key in (old, new)] == [True, True]
    assert [ring.find(key, Scope.INGEST, at_the_end) is not None for key in (old, new)] == [False, True]


def test_a_key_that_ends_is_not_kept_alive_by_another_rotation(store: KeyStore) -> None:
    record, old = store.create({Scope.ADMIN}, NOW)
    store.rotate(record.key_id, NOW, NOW + timedelta(hours=1))

    _, newest = store.rotate(record.key_id, NOW, NOW + timedelta(hours=24))
    with pytest.raises(SettingsError, match=r"ended at .* keys create"):
        store.rotate(record.key_id, NOW + timedelta(hours=1), NOW + timedelta(hours=25))

    ring = KeyRing([], store, NOW)
    assert ring.find(old, Scope.ADMIN, NOW + timedelta(hours=1)) is None
    assert ring.find(newest, Scope.ADMIN, NOW + timedelta(hours=1)) is not None


def test_configured_keys_are_told_apart() -> None:
    ring = KeyRing(["shop-a", "shop-b"], None, NOW)

    found = [ring.find(key, Scope.INGEST, NOW) for key in ("shop-a", "shop-b")]

    assert len({key.key_id for key in found if key}) == 2


def test_a_request_that_is_counted_late_owes_nothing_for_those_before_it() -> None:
    limits = RateLimits(10)

    assert [limits.seconds_to_wait("a", 1, None, now) for now in (100.0, 97.0, 97.0)] == [0, 0, 0]


def test_a_revoked_key_opens_nothing_after_the_next_refresh(store: KeyStore) -> None:
    record, key = store.create({Scope.INGEST}, NOW)
    ring = KeyRing([], store, NOW)

    store.revoke(record.key_id, NOW)
    ring.refresh()

    assert ring.find(key, Scope.INGEST, NOW) is None
    with pytest.raises(SettingsError, match="afterclick keys list"):
        store.revoke(record.key_id, NOW)


def test_store_that_cannot_be_read_is_said_without_its_address(tmp_path: Path) -> None:
    (tmp_path / "keys.db").write_bytes(b"not a database, not at all" * 100)

    with pytest.raises(StoreUnavailableError, match="key store could not be opened") as failed:
        KeyStore(f"sqlite:///{tmp_path}/keys.db")
    assert str(tmp_path) not in str(failed.value)


def test_columns_are_as_agreed(store: KeyStore, tmp_path: Path) -> None:
    store.create({Scope.INGEST, Scope.READ}, NOW)
    with sqlite3.connect(tmp_path / "new" / "keys.db") as connection:
        assert connection.execute("SELECT scopes, created_at FROM access_keys").fetchall() == [
            ("ingest,read", "2026-11-24T12:00:00+00:00")
        ]


def test_rate_allows_a_burst_and_then_the_rate() -> None:
    limits = RateLimits(10)

    assert [limits.seconds_to_wait("a", 10, None, 0.0) for _ in range(3)] == [0, 0, 1]
    assert limits.seconds_to_wait("a", 10, None, 1.0) == 0
    assert limits.seconds_to_wait("a", 1, None, 1.0) == 1


def test_rate_is_each_keys_own() -> None:
    limits = RateLimits(10)
    limits.seconds_to_wait("a", 20, None, 0.0)

    assert limits.seconds_to_wait("a", 1, None, 0.0) == 1
    assert limits.seconds_to_wait("b", 1, None, 0.0) == 0
    assert limits.seconds_to_wait("c", 40, 20.0, 0.0) == 0
    assert limits.seconds_to_wait("c", 40, 20.0, 0.0) == 2


def test_rate_lets_a_batch_through_that_is_larger_than_the_burst_when_nothing_waits() -> None:
    limits = RateLimits(10)

    assert limits.seconds_to_wait("a", 100, None, 0.0) == 0
    assert limits.seconds_to_wait("a", 1, None, 1.0) > 1
