"""Which list an item was chosen from: a signed token that the API hands out and clients send back in events. Pure."""

import base64
import binascii
import hashlib
import hmac
import struct
from typing import NamedTuple

_BODY = struct.Struct("<16sq")
_MAC_BYTES = 16
TOKEN_LENGTH = 54
"""Characters of a token."""


class Attribution(NamedTuple):
    """What a token says: number of the list (32 hexadecimal digits) and when it was made, in ms since the epoch."""

    list_id: str
    made_ms: int


def attribution_key(secret: bytes) -> bytes:
    """Return the key of tokens that belongs to a secret of the installation, and to nothing else of it."""
    return hmac.digest(secret, b"afterclick attribution token 1", hashlib.sha256)


def sign(attribution: Attribution, key: bytes) -> str:
    """Return the token of a list."""
    body = _BODY.pack(bytes.fromhex(attribution.list_id), attribution.made_ms)
    mac = hmac.digest(key, body, hashlib.sha256)[:_MAC_BYTES]
    return base64.urlsafe_b64encode(body + mac).decode().rstrip("=")


def read_token(token: object, keys: tuple[bytes, ...]) -> Attribution | None:
    """Return what a token says; None where it is not one that was signed with one of the keys."""
    if not isinstance(token, str) or len(token) != TOKEN_LENGTH:
        return None
    try:
        content = base64.b64decode(token + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    body, mac = content[: _BODY.size], content[_BODY.size :]
    if not any(hmac.compare_digest(hmac.digest(key, body, hashlib.sha256)[:_MAC_BYTES], mac) for key in keys):
        return None
    number, made_ms = _BODY.unpack(body)
    return Attribution(number.hex(), made_ms)
