"""Keys that clients hold: stored as hashes, with scopes, an end, and a rate.

A key is 128 random bits, so plain SHA-256 suffices: there is nothing to guess (docs/decisions/0021).
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Scope(StrEnum):
    """What a key opens."""

    INGEST = "ingest"
    """Sending events; such a key stands in web pages and is no secret."""
    READ = "read"
    """Asking for recommendations, where `serving.require_key` is set."""
    ADMIN = "admin"
    """Requests on behalf of a person: consent, export, erasure."""


@dataclass(frozen=True)
class AccessKey:
    """What is known of a key; never the key itself."""

    key_id: str
    digest: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    events_per_second: float | None = None

    def opens(self, scope: Scope, now: datetime) -> bool:
        """Tell whether the key has the scope and has not ended."""
        return scope in self.scopes and (self.expires_at is None or now < self.expires_at)


class KeySource(Protocol):
    """Where keys are kept."""

    def read_keys(self) -> list[AccessKey]:
        """Return all keys that have not been revoked."""

    def close(self) -> None:
        """Let go of connections."""


def new_key() -> str:
    """Return a fresh random key."""
    return secrets.token_hex(16)


def digest_of(key: str) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class KeyRing:
    """The keys that are in force, looked up by hash: an answer's time tells nothing about a key.

    Parameters
    ----------
    configured
        Keys of the configuration; each has `configured_scopes`.
    source
        Further keys; read again by `refresh`.
    """

    def __init__(
        self,
        configured: Iterable[str],
        source: KeySource | None,
        now: datetime,
        *,
        configured_scopes: frozenset[Scope] = frozenset({Scope.INGEST}),
    ) -> None:
        digests = [digest_of(key) for key in configured]
        keys = [AccessKey(f"configured-{digest[:12]}", digest, configured_scopes, now) for digest in digests]
        self._configured = {key.digest: key for key in keys}
        self._source = source
        self._keys: Mapping[str, AccessKey] = self._configured
        self.refresh()

    def find(self, key: str | None, scope: Scope, now: datetime) -> AccessKey | None:
        """Return the key when it is in force for `scope`."""
        found = self._keys.get(digest_of(key)) if key else None
        return found if found and found.opens(scope, now) else None

    def refresh(self) -> None:
        """Read the source again; blocking."""
        if self._source is not None:
            self._keys = self._configured | {key.digest: key for key in self._source.read_keys()}

    def close(self) -> None:
        """Close the source."""
        if self._source is not None:
            self._source.close()
