"""Identifiers to hashes and pseudonyms: the only place where a raw user id is read. No I/O.

A raw id is looked up by its HMAC under the installation's key; a person's subject id is an HMAC under a random secret
of their own (`connectors.subject_store`). Deleting the secret cuts the link, whoever holds the key.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

from pydantic import SecretStr

SUBJECT_ID_LENGTH = 32
"""Hexadecimal characters of a subject id (128 bits)."""


class RawId(NamedTuple):
    """A raw id; `kind` is ``user`` or ``anonymous``: equal texts of different kinds are different ids."""

    kind: str
    text: str


@dataclass(frozen=True)
class PseudonymKeys:
    """The installation's keys by their id; the first is the active one, the others are being rotated out."""

    keys: Mapping[str, bytes]

    @classmethod
    def of(cls, active: SecretStr, *previous: SecretStr) -> Self:
        """Name each key by a digest of itself, so that nobody has to."""
        secrets = [key.get_secret_value().encode() for key in (active, *previous)]
        return cls({hashlib.sha256(b"key id:" + secret).hexdigest()[:8]: secret for secret in secrets})

    @property
    def active_id(self) -> str:
        """Return the id of the key for new entries."""
        return next(iter(self.keys))

    def lookup(self, identifier: RawId) -> str:
        """Return the active key's hash of an identifier: what the subject store knows it by."""
        prepared = self._prepared.copy()  # the key is read once: each request and each event looks somebody up
        prepared.update(f"{identifier.kind}:{identifier.text}".encode())
        return prepared.hexdigest()

    @cached_property
    def _prepared(self) -> hmac.HMAC:
        return hmac.new(self.keys[self.active_id], digestmod=hashlib.sha256)

    def lookups(self, identifier: RawId) -> dict[str, str]:
        """Return the hash under each key, by key id."""
        return {name: _hmac(key, f"{identifier.kind}:{identifier.text}") for name, key in self.keys.items()}

    def suppressions(self, hashed: str) -> list[str]:
        """Return what an erased lookup hash or subject id is remembered as, under each key, the active one first."""
        return [_hmac(key, f"suppressed:{hashed}") for key in self.keys.values()]


def subject_id_of(secret: bytes, subject_key: str) -> str:
    """Return the pseudonym of a subject.

    Parameters
    ----------
    secret
        The subject's own random bytes.
    subject_key
        The subject's random name in the store.

    References
    ----------
    RFC 2104 (HMAC) with SHA-256, cut to 128 bits.
    """
    return _hmac(secret, subject_key)[:SUBJECT_ID_LENGTH]


def _hmac(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), hashlib.sha256).hex()
