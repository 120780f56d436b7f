"""Client headers → the keys that they present."""

from __future__ import annotations

import re

from authsvc.gate.forwarded import PROTOCOLS

KEY_PROTOCOL = b"authsvc.key."  # in front of a key that is offered as a subprotocol

_IMPORTED = re.compile(rb"[\x21-\x7e]{16,512}")
_SCHEMES = (b"bearer", b"token")
_BLANK = b" \t"  # may surround a header's value (RFC 9110, 5.5)


class ForeignKey:
    """A string that may be an imported key of another system: only its digest can tell."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


def could_be_imported(text: bytes) -> bool:
    return _IMPORTED.fullmatch(text) is not None


def keys_in(headers: dict[bytes, bytes]) -> list[bytes]:
    """Every key that a request presents: Bearer or Token (RFC 6750, 2.1), X-Api-Key, and where they are read the
    subprotocols that a websocket offers.

    `Authorization` with a different scheme is no key, and an empty place counts as absent. Two keys are two, even if
    they are the same.
    """
    authorization, text = headers.get(b"authorization"), headers.get(b"x-api-key")
    if text is None and authorization is not None:
        scheme, _, text = authorization.partition(b" ")
        is_alone = scheme == b"Bearer" or scheme.lower() in _SCHEMES
    else:
        is_alone = authorization is None
    if is_alone and text is not None and b"," not in text and PROTOCOLS not in headers:
        text = text.strip(_BLANK)  # the usual case
        return [text] if text else []
    return [
        *_of_authorization(authorization or b""),
        *_parts(headers.get(b"x-api-key", b"")),
        *(key for part in _parts(headers.get(PROTOCOLS, b"")) if (key := _of_protocol(part))),
    ]


def without_keys(protocols: bytes) -> bytes:
    """The offered subprotocols that are for the model: all except keys, in their order."""
    return b", ".join(one for one in _parts(protocols) if _of_protocol(one) is None)


def _of_protocol(protocol: bytes) -> bytes | None:
    """The key in it, None if it is an ordinary one. Its case is ignored: nothing like a key may reach the model."""
    is_key = protocol[: len(KEY_PROTOCOL)].lower() == KEY_PROTOCOL
    return protocol[len(KEY_PROTOCOL) :] if is_key else None


def _of_authorization(value: bytes) -> list[bytes]:
    """The keys in it. Anything beside one counts as a further key, since it cannot be told what it was meant as."""
    keys, others = [], []
    for part in _parts(value):
        scheme, _, credential = part.partition(b" ")
        if scheme.lower() not in _SCHEMES:
            others.append(part)
        elif credential := credential.strip(_BLANK):
            keys.append(credential)
    return [*keys, *others] if keys else []


def _parts(value: bytes) -> list[bytes]:
    return [part for one in value.split(b",") if (part := one.strip(_BLANK))]
