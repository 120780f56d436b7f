"""Key strings: made, checked, digested."""

from __future__ import annotations

import hmac
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.keys import (
    ALPHABET,
    FORGED,
    INCOMPLETE,
    KeyReader,
    Pepper,
    PresentedKey,
    crc_of,
    derived_secret,
    digest_of,
    new_account_id,
    new_key,
    new_key_id,
)

PEPPER, OTHER = Pepper.of("p" * 40), Pepper.of("q" * 40)
READER = KeyReader("ask", [PEPPER])


def made(pepper: Pepper = PEPPER, prefix: str = "ask"):
    return new_key(new_key_id(new_account_id()), prefix, pepper)


def read(text: str, reader: KeyReader = READER, **options):
    return reader.read(text.encode(), **options)


def number(text: str) -> int:
    value = 0
    for character in text.encode():
        value = value * 62 + ALPHABET.index(character)
    return value


def test_a_key_has_the_documented_shape():
    assert re.fullmatch(r"ask_[0-9A-Za-z]{16}_[0-9A-Za-z]{32}[0-9A-Za-z]{6}[0-9A-Za-z]{6}", made().text)


def test_one_hmac_gives_the_check_and_the_digest():
    key = made()
    body, check, crc = key.text[:-12], key.text[-12:-6], key.text[-6:]
    mac = hmac.digest(b"p" * 40, body.encode(), "sha256")
    assert number(check) == int.from_bytes(mac, "big") >> (256 - 35)
    assert int(key.digest, 16) == int.from_bytes(mac, "big") & ((1 << 221) - 1)
    assert int.from_bytes(digest_of(b"\xff" * 32), "big") == (1 << 221) - 1  # whatever the bits beside it are
    assert number(crc) == zlib.crc32(key.text[:-6].encode())


@given(pepper=st.binary(min_size=1, max_size=200), body=st.binary(max_size=200))
def test_a_pepper_computes_the_hmac_of_the_library(pepper, body):
    """A key longer than a block of SHA-256 is hashed first (RFC 2104)."""
    assert Pepper("id", pepper).mac(body) == hmac.digest(pepper, body, "sha256")


def test_a_minted_key_is_read_back():
    key = made()
    presented = read(key.text)
    assert isinstance(presented, PresentedKey)
    assert (presented.public_id, presented.digest.hex()) == (key.public_id, key.digest)
    assert key.text.startswith(key.start)
    assert key.start == key.text[: len("ask_") + 16 + len("_XX")]  # two characters of the secret


@given(st.integers(4, 64), st.sampled_from(ALPHABET.decode()))
def test_one_wrong_character_is_noticed_offline(place, character):
    text = made().text
    changed = text[:place] + character + text[place + 1 :]
    if changed != text:
        assert read(changed) is INCOMPLETE


@given(st.text(max_size=80))
def test_any_text_is_read_without_an_error(text):
    assert read("ask_" + text) in (INCOMPLETE, FORGED)


@given(st.integers(0, 64))
def test_a_cut_key_is_incomplete(length):
    assert read(made().text[:length]) is INCOMPLETE


def test_a_forged_key_has_a_right_checksum_and_a_wrong_check():
    body = made().text[:-12] + "000000"
    assert read(body + crc_of(body.encode()).decode()) is FORGED


@pytest.mark.parametrize("place", range(-12, -6))
def test_every_character_of_the_check_counts(place):
    text = made().text
    other = "0" if text[place] != "0" else "1"
    checked = text[:place] + other + text[place + 1 : -6]
    assert read(checked + crc_of(checked.encode()).decode()) is FORGED


def test_a_key_of_another_pepper_is_forged_until_that_pepper_stands_beside():
    key = made(OTHER)
    assert read(key.text) is FORGED
    presented = read(key.text, KeyReader("ask", [PEPPER, OTHER]))
    assert isinstance(presented, PresentedKey)
    assert presented.digest.hex() == key.digest
    assert presented.digest_with(PEPPER) != presented.digest


def test_with_its_pepper_gone_the_digest_decides_if_the_crc_is_right():
    key = made(OTHER)
    presented = read(key.text, trust_crc=True)
    assert isinstance(presented, PresentedKey)
    both = read(key.text, KeyReader("ask", [PEPPER, OTHER]))
    assert presented.digest_with(PEPPER) == both.digest_with(PEPPER)
    assert read(key.text[:-1] + "!", trust_crc=True) is INCOMPLETE


@pytest.mark.parametrize("suffix", ["\n", " ", "\x00", "a", "\xe9"])
def test_nothing_may_follow_a_key(suffix):
    assert read(made().text + suffix) is INCOMPLETE


def test_the_prefix_is_a_setting():
    key = made(prefix="acme")
    assert isinstance(read(key.text, KeyReader("acme", [PEPPER])), PresentedKey)
    assert read(key.text) is INCOMPLETE


def test_a_derived_secret_knows_where_one_part_ends_and_the_next_begins():
    assert derived_secret(PEPPER, "ab", "c") == derived_secret(PEPPER, "ab", "c")
    others = {derived_secret(PEPPER, *parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), ("ab", "c", ""))}
    assert len(others | {derived_secret(OTHER, "ab", "c")}) == 5


def test_ids_do_not_repeat():
    assert len({new_account_id() for _ in range(2000)}) == 2000


def test_secrets_do_not_show_in_a_repr():
    from accounts.services.keys import Issued

    assert "ask_secret" not in repr(Issued(None, "ask_secret", None))  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_the_mac_is_that_of_the_standard_library_whatever_the_peppers_length(length):
    """RFC 2104, 2: a key longer than a block is hashed first, one of exactly a block is not."""
    pepper = Pepper.of("p" * length)
    assert pepper.mac(b"body") == hmac.digest(b"p" * length, b"body", "sha256")
