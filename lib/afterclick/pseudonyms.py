"""Identifiers to pseudonyms: the only place where a raw user id is turned into a subject id.

The collector and the API call `pseudonym` with the same key. Issue 6 replaces the one key by a
random secret per subject behind the same function.
"""

import hashlib
import hmac

SUBJECT_ID_LENGTH = 32
"""Hexadecimal characters of a subject id (128 bits)."""


def pseudonym(identifier: str, *, kind: str, key: bytes) -> str:
    """Return the subject id of a raw identifier.

    Parameters
    ----------
    identifier
        Raw id as the client sent it, not empty.
    kind
        ``user`` or ``anonymous``: equal strings of different kinds are different subjects.
    key
        Secret of at least 32 bytes.

    References
    ----------
    RFC 2104 (HMAC) with SHA-256, cut to 128 bits.
    """
    return hmac.new(key, f"{kind}:{identifier}".encode(), hashlib.sha256).hexdigest()[:SUBJECT_ID_LENGTH]
