"""Client headers → the presented key."""

from __future__ import annotations

import re

from accounts.keys import FORGED, KeyReader, PresentedKey
from authsvc.gate.forwarded import PROTOCOLS
from authsvc.gate.verdict import Verdict

KEY_PROTOCOL = b"authsvc.key."  # in front of a key that is offered as a subprotocol

_IMPORTED = re.compile(rb"[\x21-\x7e]{16,512}")
_SCHEMES = (b"bearer", b"token")
_BLANK = b" \t"  # what may stand around a header's value (RFC 9110, 5.5)
_SEAM = re.compile(rb"[\n,]")  # between headers of one name: ours, and what a server that folds them writes


class ForeignKey:
    """A key of another system, which may have been imported: only its digest can tell."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


def read_key(
    found: dict[bytes, bytes], reader: KeyReader, *, imported: bool, trust_crc: bool
) -> PresentedKey | ForeignKey | Verdict:
    """The one key that was presented, or the verdict on what is none: Bearer or Token (RFC 6750, 2.1), X-Api-Key, or
    where they are read the subprotocols that a websocket offers.

    `Authorization` with another scheme is no key at all, and a place that is empty is as if it were not there.
    """
    authorization, text = found.get(b"authorization"), found.get(b"x-api-key")
    is_alone = authorization is None
    if text is None and authorization is not None:
        scheme, _, text = authorization.partition(b" ")
        is_alone = scheme.lower() in _SCHEMES
    if (
        is_alone
        and text is not None
        and PROTOCOLS not in found
        and (text := text.strip(_BLANK)).startswith(reader.ours)
    ):
        # The usual case. A string with the shape of ours has neither comma nor line break, so there is no second one.
        key = reader.read(text, trust_crc=trust_crc)
        if isinstance(key, PresentedKey):
            return key
        if key is FORGED:
            return Verdict.FORGED_KEY
    given = keys_in(found)
    if len(given) != 1:
        return Verdict.SEVERAL_KEYS if given else Verdict.NO_KEY
    return _read_one(given[0], reader, imported=imported, trust_crc=trust_crc)


def _read_one(
    text: bytes, reader: KeyReader, *, imported: bool, trust_crc: bool
) -> PresentedKey | ForeignKey | Verdict:
    if not text.startswith(reader.ours):
        if imported and _IMPORTED.fullmatch(text):
            return ForeignKey(text)
        return Verdict.FOREIGN_KEY
    key = reader.read(text, trust_crc=trust_crc)
    if isinstance(key, PresentedKey):
        return key
    return Verdict.FORGED_KEY if key is FORGED else Verdict.INCOMPLETE_KEY


def keys_in(found: dict[bytes, bytes]) -> list[bytes]:
    """All that stands where a key can. More than one is refused, whether or not they are the same."""
    return [
        *_of_authorization(found.get(b"authorization", b"")),
        *_parts(found.get(b"x-api-key", b"")),
        *(key for one in _parts(found.get(PROTOCOLS, b"")) if (key := _of_protocol(one))),
    ]


def without_keys(protocols: bytes) -> bytes:
    """What of the offered subprotocols is for the model: all but keys, in their order."""
    return b", ".join(one for one in _parts(protocols) if _of_protocol(one) is None)


def _of_protocol(protocol: bytes) -> bytes | None:
    """The key in it, None if it is an ordinary one. In any case: what looks like a key must not reach the model."""
    is_key = protocol[: len(KEY_PROTOCOL)].lower() == KEY_PROTOCOL
    return protocol[len(KEY_PROTOCOL) :] if is_key else None


def _of_authorization(value: bytes) -> list[bytes]:
    """The keys in it. What stands beside one counts as another: nobody can tell what it was meant as."""
    keys, others = [], []
    for part in _parts(value):
        scheme, _, credential = part.partition(b" ")
        if scheme.lower() not in _SCHEMES:
            others.append(part)
        elif credential := credential.strip(_BLANK):
            keys.append(credential)
    return [*keys, *others] if keys else []


def _parts(value: bytes) -> list[bytes]:
    return [part for one in _SEAM.split(value) if (part := one.strip(_BLANK))]
