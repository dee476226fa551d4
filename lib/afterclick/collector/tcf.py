"""The IAB's TC string, version 2, decoded strictly: one wrong bit and nothing is granted.

Notes
-----
The one Python package for it was last released in 2022 and brings a fork of a C extension (docs/decisions/0020).

References
----------
IAB Tech Lab, "Consent string and vendor list formats v2" (TCF 2.2).
"""

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from typing import Any

_BASE64_URL = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST = 8192
_VERSION = 2
_PURPOSES = 24
_LETTERS = 26
_OTHER_SEGMENTS = frozenset({1, 2, 3})
_LIFETIME = timedelta(days=396)  # 13 months, as the policy has consent asked for anew
_CLOCK_SKEW = timedelta(days=1)


class TcfError(ValueError):
    """Raised when a TC string cannot be relied on; the message says why."""


def decode_purposes(text: Any, now: datetime) -> frozenset[int]:
    """Return the numbers of the purposes with consent.

    Raises
    ------
    TcfError
        If it is not a TC string of version 2, is cut off or padded, or is older than 13 months or of the future.
    """
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST:
        raise TcfError("a TC string is a text of at most 8192 characters")
    core, *others = (_Bits(segment) for segment in text.split("."))
    for other in others:
        if other.number(3) not in _OTHER_SEGMENTS:
            raise TcfError("a segment after the core is of an unknown type")
    if core.number(6) != _VERSION:
        raise TcfError("the TC string is not of version 2")
    created, updated = core.moment(), core.moment()
    if created > updated or updated > now + _CLOCK_SKEW or updated < now - _LIFETIME:
        raise TcfError(f"the TC string was made {created} and changed {updated}: of the future or too old")
    core.skip(12 + 12 + 6)  # CMP, its version, its screen
    if max(core.number(6), core.number(6)) >= _LETTERS:
        raise TcfError("the language is not two letters")
    core.skip(12 + 6 + 1 + 1 + 12)  # vendor list, policy, service-specific, texts, special features
    allowed = frozenset(number for number in range(1, _PURPOSES + 1) if core.number(1))
    core.skip(_PURPOSES + 1 + 12)  # legitimate interests, purpose one treatment, publisher's country
    _skip_vendors(core)
    _skip_vendors(core)
    _skip_restrictions(core)
    core.expect_end()
    return allowed


class _Bits:
    """Reads a base64url segment from its first bit on."""

    def __init__(self, segment: str) -> None:
        if not _BASE64_URL.fullmatch(segment):
            raise TcfError("a segment is not base64url")
        try:
            content = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        except (binascii.Error, ValueError) as error:
            raise TcfError(f"a segment is not base64url: {error}") from error
        self._value = int.from_bytes(content)
        self._left = 8 * len(content)

    def number(self, bits: int) -> int:
        self._left -= bits
        if self._left < 0:
            raise TcfError("the TC string is cut off")
        return (self._value >> self._left) & ((1 << bits) - 1)

    def skip(self, bits: int) -> None:
        self.number(bits)

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.number(36) / 10, UTC)

    def expect_end(self) -> None:
        """Allow only zeros after the last field: encoders fill up to whole bytes, some to whole words."""
        if self._value & ((1 << self._left) - 1):
            raise TcfError("there is more after the end of the TC string")


def _skip_vendors(core: _Bits) -> None:
    highest = core.number(16)
    if not core.number(1):
        core.skip(highest)
        return
    _skip_ranges(core, highest)


def _skip_ranges(core: _Bits, highest: int | None = None) -> None:
    for _ in range(core.number(12)):
        is_range = core.number(1)
        first = core.number(16)
        last = core.number(16) if is_range else first
        if not 0 < first <= last or (highest is not None and last > highest):
            raise TcfError(f"vendors {first} to {last} are not a range")


def _skip_restrictions(core: _Bits) -> None:
    for _ in range(core.number(12)):
        core.skip(6 + 2)  # purpose, kind of restriction
        _skip_ranges(core)
