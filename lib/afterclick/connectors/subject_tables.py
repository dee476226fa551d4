"""The subject store's tables, one of items too, and how a database is opened: SQLite on one machine, PostgreSQL on several."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from afterclick.errors import StoreUnavailableError

METADATA = sa.MetaData()
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up only in INTEGER


def _table(name: str, *columns: sa.Column[Any], numbered: bool = False) -> sa.Table:
    number = [sa.Column("number", _NUMBER, primary_key=True, autoincrement=True)] if numbered else []
    return sa.Table(name, METADATA, *number, *columns, sqlite_autoincrement=numbered)


SUBJECTS = _table(
    "subjects",
    sa.Column("subject_key", sa.String(32), primary_key=True),
    sa.Column("owner", sa.String(32), nullable=False, index=True),
    sa.Column("secret", sa.LargeBinary(), nullable=False),
    sa.Column("created_ms", sa.BigInteger(), nullable=False),
)
"""One pseudonym; `owner` is the `subject_key` of the person's first one, and may have several after a join."""

IDENTIFIERS = _table(
    "identifiers",
    sa.Column("lookup", sa.String(64), primary_key=True),
    sa.Column("key_id", sa.String(8), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(32), nullable=False, index=True),
    sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
    sa.Column("linked_ms", sa.BigInteger(), nullable=False),
)
"""One raw id as an HMAC under the key `key_id`."""

CONSENTS = _table(
    "consents",
    sa.Column("owner", sa.String(32), nullable=False, index=True),
    sa.Column("purpose", sa.String(32), nullable=False),
    sa.Column("granted", sa.Boolean(), nullable=False),
    sa.Column("at_ms", sa.BigInteger(), nullable=False),
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
    numbered=True,
)
"""Every change of a decision; the state is what `consent_rules.settle_all` makes of a person's rows."""

WITHDRAWALS = _table(
    "withdrawals",
    sa.Column("subject_id", sa.String(32), nullable=False, index=True),
    sa.Column("purpose", sa.String(32), nullable=False),
    sa.Column("withdrawn_ms", sa.BigInteger(), nullable=False),
    sa.Column("is_standing", sa.Boolean(), nullable=False),
    sa.Column("is_followed", sa.Boolean(), nullable=False),
    sa.Column("is_removed", sa.Boolean(), nullable=False),
    numbered=True,
)
"""What streams keep out: while standing everything, later what was received until then.

`is_followed`: by the cache; `is_removed`: from the tables.
"""

SUPPRESSIONS = _table(
    "suppressions",
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("suppressed_ms", sa.BigInteger(), nullable=False),
    numbered=True,
)
"""Erased identifiers and subject ids as HMACs, so that replays stay out."""

CHANGES = _table("changes", sa.Column("owner", sa.String(32), nullable=False), numbered=True)
"""Whose entry changed: other processes' caches drop it."""

ERASURES = _table(
    "erasures",
    sa.Column("erasure_id", sa.String(32), primary_key=True),
    sa.Column("requested_ms", sa.BigInteger(), nullable=False),
    sa.Column("subject_ids", sa.Text(), nullable=False),
)
"""One request; `subject_ids` (JSON) are emptied when nothing is left to look for."""

RECEIPTS = _table(
    "receipts",
    sa.Column("erasure_id", sa.String(32), primary_key=True),
    sa.Column("store", sa.String(64), primary_key=True),
    sa.Column("removed_ms", sa.BigInteger()),
    sa.Column("clean_ms", sa.BigInteger()),
    sa.Column("told", sa.Text(), nullable=False),
)
"""One store's answer: removed from its content, and clean (no byte left) since; `told` says why later."""

WITHDRAWN_ITEMS = _table(
    "withdrawn_items",
    sa.Column("item_id", sa.Text(), primary_key=True),
    sa.Column("is_withdrawn", sa.Boolean(), nullable=False),
    sa.Column("changed_ms", sa.BigInteger(), nullable=False),
)
"""Items that nobody may get, and those that were restored; here because it is the database that every service has."""


def open_engine(url: str, *, timeout_seconds: float = 5.0) -> sa.Engine:
    """Return an engine; it connects at the first command."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True)
    Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": timeout_seconds})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_immediately)
    return engine


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's errors into ours; its text is left out, because it quotes values."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        cause = type(getattr(error, "orig", None) or error).__name__
        message = f"the subject store does not answer as it should: {cause}. Is its database up?"
        raise StoreUnavailableError(message) from None


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediately(connection: sa.Connection) -> None:
    """Take the write lock at the start: a reader that becomes a writer half-way can only fail."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
