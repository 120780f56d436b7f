"""Client headers → the presented key."""

from __future__ import annotations

import re

from accounts.keys import FORGED, INCOMPLETE, KeyReader, PresentedKey
from authsvc.gate.verdict import Verdict

_IMPORTED = re.compile(rb"[\x21-\x7e]{16,512}")


class ForeignKey:
    """A key of another system, which may have been imported: only its digest can tell."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


def read_key(
    found: dict[bytes, bytes], reader: KeyReader, *, imported: bool, trust_crc: bool
) -> PresentedKey | ForeignKey | Verdict:
    """The one key that was presented, or the verdict on what is none: Bearer or Token (RFC 6750, 2.1), or X-Api-Key.

    `Authorization` with another scheme and no X-Api-Key is no key at all.
    """
    authorization, text = found.get(b"authorization"), found.get(b"x-api-key")
    if authorization is not None:
        if b"\n" in authorization:
            return Verdict.SEVERAL_KEYS
        scheme, _, credential = authorization.partition(b" ")
        if scheme.lower() in (b"bearer", b"token"):
            if text is not None:
                return Verdict.SEVERAL_KEYS
            text = credential.strip(b" ")
    if text is None:
        return Verdict.NO_KEY
    if b"\n" in text or b"," in text:
        # The comma is what a server that folds repeated headers puts between them (RFC 9110, 5.3).
        return Verdict.SEVERAL_KEYS
    if not text.startswith(reader.ours):
        if imported and _IMPORTED.fullmatch(text):
            return ForeignKey(text)
        return Verdict.FOREIGN_KEY
    key = reader.read(text, trust_crc=trust_crc)
    if key is INCOMPLETE:
        return Verdict.INCOMPLETE_KEY
    if key is FORGED:
        return Verdict.FORGED_KEY
    assert isinstance(key, PresentedKey)
    return key
