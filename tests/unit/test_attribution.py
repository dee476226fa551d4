"""Tokens: what was signed is read, and nothing else is."""

import base64
import secrets

import pytest

from afterclick.attribution import TOKEN_LENGTH, Attribution, attribution_key, read_token, sign

KEY = attribution_key(b"k" * 32)
GIVEN = Attribution("00112233445566778899aabbccddeeff", 1_795_521_599_123)


def test_a_token_says_what_was_signed_also_under_a_key_that_is_being_rotated_out() -> None:
    token = sign(GIVEN, KEY)

    assert len(token) == TOKEN_LENGTH
    assert read_token(token, (KEY,)) == GIVEN
    assert read_token(token, (attribution_key(b"n" * 32), KEY)) == GIVEN
    assert read_token(token, (attribution_key(b"n" * 32),)) is None


def test_no_changed_byte_goes_unnoticed() -> None:
    content = base64.urlsafe_b64decode(sign(GIVEN, KEY) + "==")
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 + secrets.randbelow(255)
        assert read_token(base64.urlsafe_b64encode(bytes(changed)).decode().rstrip("="), (KEY,)) is None


@pytest.mark.parametrize("token", [None, 7, "", "x" * TOKEN_LENGTH, "ä" * TOKEN_LENGTH, "=" * TOKEN_LENGTH, ["a"], {}])
def test_what_is_no_token_is_none(token: object) -> None:
    assert read_token(token, (KEY,)) is None
