"""Access keys in a database: SQLite on one machine, PostgreSQL for several."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Column, Float, MetaData, String, Table, create_engine, insert, make_url, select, update
from sqlalchemy.exc import SQLAlchemyError

from afterclick.access_keys import AccessKey, Scope, digest_of, new_key
from afterclick.errors import SettingsError, StoreUnavailableError

_METADATA = MetaData()
# One key. Unique: `key_id`, `digest`. Times are ISO 8601 UTC texts, which sort; null: has no end, is not revoked.
_KEYS = Table(
    "access_keys",
    _METADATA,
    Column("key_id", String(32), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", String(64), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("expires_at", String(32)),
    Column("revoked_at", String(32)),
    Column("events_per_second", Float),
)


class KeyStore:
    """Creates, ends and lists keys.

    Raises
    ------
    StoreUnavailableError
        From every method, when the database does not answer.
    """

    def __init__(self, url: str) -> None:
        address = make_url(url)
        if address.get_backend_name() == "sqlite" and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        self._engine = create_engine(address)
        with _telling("opened"):
            _METADATA.create_all(self._engine)

    def create(
        self, scopes: Iterable[Scope], now: datetime, *, events_per_second: float | None = None
    ) -> tuple[AccessKey, str]:
        """Store a new key and return what is known of it, and the key itself, which is not kept."""
        key = new_key()
        record = AccessKey(new_key()[:12], digest_of(key), frozenset(scopes), now, events_per_second=events_per_second)
        row = {
            "key_id": record.key_id,
            "digest": record.digest,
            "scopes": ",".join(sorted(record.scopes)),
            "created_at": now.isoformat(),
            "events_per_second": events_per_second,
        }
        with _telling("written"), self._engine.begin() as connection:
            connection.execute(insert(_KEYS).values(row))
        return record, key

    def rotate(self, key_id: str, now: datetime, ends_at: datetime) -> tuple[AccessKey, str]:
        """Return a new key with the old one's scopes; the old one ends at `ends_at`, or before if it was to.

        Raises
        ------
        SettingsError
            If there is no such key, or it has ended.
        """
        old = self._one(key_id)
        if old.expires_at is not None:
            if old.expires_at <= now:
                message = (
                    f"key {key_id!r} ended at {old.expires_at.isoformat()}; make a new one with afterclick keys create"
                )
                raise SettingsError(message)
            ends_at = min(ends_at, old.expires_at)
        with _telling("written"), self._engine.begin() as connection:
            connection.execute(update(_KEYS).where(_KEYS.c.key_id == key_id).values(expires_at=ends_at.isoformat()))
        return self.create(old.scopes, now, events_per_second=old.events_per_second)

    def revoke(self, key_id: str, now: datetime) -> None:
        """End a key; services notice within `keys.refresh_seconds`."""
        self._one(key_id)
        with _telling("written"), self._engine.begin() as connection:
            connection.execute(update(_KEYS).where(_KEYS.c.key_id == key_id).values(revoked_at=now.isoformat()))

    def read_keys(self) -> list[AccessKey]:
        """Return all keys that have not been revoked, the oldest first."""
        with _telling("read"), self._engine.connect() as connection:
            found = connection.execute(select(_KEYS).where(_KEYS.c.revoked_at.is_(None)).order_by(_KEYS.c.created_at))
            return [
                AccessKey(
                    row.key_id,
                    row.digest,
                    frozenset(map(Scope, row.scopes.split(","))),
                    datetime.fromisoformat(row.created_at).astimezone(UTC),
                    datetime.fromisoformat(row.expires_at).astimezone(UTC) if row.expires_at else None,
                    row.events_per_second,
                )
                for row in found
            ]

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _one(self, key_id: str) -> AccessKey:
        found = next((key for key in self.read_keys() if key.key_id == key_id), None)
        if found is None:
            message = f"there is no key {key_id!r}, or it is revoked already; `afterclick keys list` shows the ids"
            raise SettingsError(message)
        return found


class _telling:  # noqa: N801 - reads as a phrase at its use
    """Turn errors of the database into ours; its address is not told, it holds a password."""

    def __init__(self, done: str) -> None:
        self._done = done

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, SQLAlchemyError):
            message = (
                f"the key store could not be {self._done}: {type(error).__name__}. Is the database of keys.url up?"
            )
            raise StoreUnavailableError(message) from error
