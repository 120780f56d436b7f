"""Key strings: made, checked, digested; no database.

    ask_ AAAAAAAA KKKKKKKK _ 32 base62 characters  6 base62  6 base62
         account  key        secret (190 bits)     check     CRC32 of all before it

One HMAC-SHA256 with the pepper over everything up to the secret gives both the check (its first 35 bits) and the
digest that is stored (the other 221). So a forged string costs one HMAC and no look-up, and secret scanners can verify
the CRC offline. The 16 characters are the key's public id; the first two of them are the account's partition.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ACCOUNT_LENGTH = 8
ID_LENGTH = 16
SECRET_LENGTH = 32
CHECK_LENGTH = 6
_BLOCK = 64  # bytes of SHA-256


class Pepper:
    """The HMAC key, with an id by which a stored digest can name it without revealing it."""

    __slots__ = ("_inner", "_outer", "id", "value")

    def __init__(self, id: str, value: bytes) -> None:
        self.id, self.value = id, value
        # HMAC (RFC 2104) with the key's own blocks hashed once: `hmac.digest` takes three times as long, looking the
        # algorithm up in OpenSSL for each call.
        block = (hashlib.sha256(value).digest() if len(value) > _BLOCK else value).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    @classmethod
    def of(cls, text: str) -> Pepper:
        value = text.encode()
        return cls(hmac.digest(value, b"authsvc pepper id", "sha256").hex()[:8], value)

    def mac(self, body: bytes) -> bytes:
        """HMAC-SHA256."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(body)
        outer.update(inner.digest())
        return outer.digest()

    def __repr__(self) -> str:
        return f"Pepper({self.id!r})"  # never its value


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key string, with what is stored of it."""

    text: str
    public_id: str
    digest: str
    pepper: str
    start: str


def new_account_id() -> str:
    return _random(ACCOUNT_LENGTH)


def new_key_id(account_id: str) -> str:
    return account_id + _random(ID_LENGTH - ACCOUNT_LENGTH)


def new_key(public_id: str, prefix: str, pepper: Pepper, secret: str | None = None) -> NewKey:
    """Mint a key string with this public id. Its text is shown once and never stored."""
    body = f"{prefix}_{public_id}_{secret or _random(SECRET_LENGTH)}".encode()
    mac = pepper.mac(body)
    checked = body + check_of(mac)
    text = (checked + crc_of(checked)).decode()
    return NewKey(text, public_id, digest_of(mac).hex(), pepper.id, text[: len(prefix) + 1 + ID_LENGTH + 3])


def check_of(mac: bytes) -> bytes:
    """The first 35 bits of the MAC as 6 base62 characters."""
    return _base62(int.from_bytes(mac[:5], "big") >> 5)


def digest_of(mac: bytes) -> bytes:
    """The other 221 bits of the MAC."""
    return bytes((mac[4] & 0x1F,)) + mac[5:]


def crc_of(checked: bytes) -> bytes:
    return _base62(crc32(checked))


def digest_imported(text: bytes, pepper: Pepper) -> bytes:
    """The digest of another system's key: HMAC(pepper, SHA-256(string)), so that hashes alone can be imported."""
    return digest_of_hash(hashlib.sha256(text).digest(), pepper)


def digest_of_hash(sha256: bytes, pepper: Pepper) -> bytes:
    return digest_of(pepper.mac(sha256))


class Incomplete:
    """The string looks like one of ours, but its length or its CRC is wrong."""


class Forged:
    """Well-formed, but we did not mint it."""


INCOMPLETE, FORGED = Incomplete(), Forged()


class PresentedKey:
    """A string that we minted or imported: its public id, and its digests under the peppers at hand."""

    __slots__ = ("_is_imported", "body", "digest", "pepper", "public_id")

    def __init__(
        self, public_id: str, body: bytes, pepper: Pepper | None, digest: bytes, *, is_imported: bool = False
    ) -> None:
        self.public_id, self.body, self.pepper, self.digest = public_id, body, pepper, digest
        self._is_imported = is_imported

    def digest_with(self, pepper: Pepper) -> bytes:
        """Its digest under any pepper, not only the one that its check was made with."""
        if pepper is self.pepper:
            return self.digest
        return digest_imported(self.body, pepper) if self._is_imported else digest_of(pepper.mac(self.body))


class KeyReader:
    """Reads presented strings; the first of `peppers` is the current one."""

    def __init__(self, prefix: str, peppers: Sequence[Pepper]) -> None:
        self.peppers = tuple(peppers)
        self.ours = f"{prefix}_".encode()
        self._shape = re.compile(rb"%s([0-9A-Za-z]{16})_[0-9A-Za-z]{44}" % re.escape(self.ours))
        self._body_length = len(prefix) + 1 + ID_LENGTH + 1 + SECRET_LENGTH

    def read(self, text: bytes, *, trust_crc: bool = False) -> PresentedKey | Incomplete | Forged:
        """Check a string, without any I/O. One without our prefix is incomplete.

        With `trust_crc`, a string whose check may belong to a retired pepper is not called forged, but left to the
        comparison of digests.
        """
        shape = self._shape.fullmatch(text)
        if shape is None:
            return INCOMPLETE
        body, check = text[: self._body_length], text[self._body_length : -CHECK_LENGTH]
        if _base62(crc32(text[:-CHECK_LENGTH])) != text[-CHECK_LENGTH:]:
            return INCOMPLETE
        for pepper in self.peppers:
            mac = pepper.mac(body)
            if hmac.compare_digest(check_of(mac), check):
                return PresentedKey(shape[1].decode(), body, pepper, digest_of(mac))
        return PresentedKey(shape[1].decode(), body, None, b"") if trust_crc else FORGED


def derived_secret(pepper: Pepper, *parts: str) -> str:
    """A secret that can be derived again, but only from the pepper and these parts together (docs/decisions/0012)."""
    told = b"".join(b"%d:%b" % (len(part.encode()), part.encode()) for part in ("authsvc derived secret", *parts))
    number = int.from_bytes(
        hmac.digest(pepper.value, told, "sha512"), "big"
    )  # 512 bits for 190: the bias is negligible
    characters = []
    for _ in range(SECRET_LENGTH):
        number, rest = divmod(number, len(ALPHABET))
        characters.append(chr(ALPHABET[rest]))
    return "".join(characters)


def _random(length: int) -> str:
    """Random characters, each equally likely: bytes that would favour the first ones are thrown away."""
    found = b""
    while len(found) < length:
        found += secrets.token_bytes(2 * length).translate(_CHARACTERS, _UNFAIR)
    return found[:length].decode()


_FAIR = 256 - 256 % len(ALPHABET)
_CHARACTERS = bytes(ALPHABET[byte % len(ALPHABET)] for byte in range(256))
_UNFAIR = bytes(range(_FAIR, 256))


_PAIRS = tuple(bytes((high, low)) for high in ALPHABET for low in ALPHABET)


def _base62(number: int) -> bytes:
    """Six base62 characters, the highest first; two at a time, because the gate does this for every request."""
    rest = number // 3844
    return _PAIRS[rest // 3844] + _PAIRS[rest % 3844] + _PAIRS[number % 3844]
