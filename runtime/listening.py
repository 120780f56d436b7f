"""BIND and ADMIN_BIND, read once, by gunicorn's master: errors are reported once, before anything starts."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from runtime import env
from runtime.env import BadSetting

FORMS = "write HOST:PORT, [IPV6]:PORT, :PORT, unix:/PATH or fd://NUMBER, separated by commas"
LONGEST_PATH = 107  # bytes; the limit of a UNIX socket's address

Name = tuple[str, int] | str


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: as gunicorn reads it, and as its socket's name."""

    text: str
    name: Name

    @property
    def is_descriptor(self) -> bool:
        return self.text.startswith("fd://")


def addresses(variable: str, default: str) -> list[Address]:
    """The comma-separated addresses in a variable. Raises BadSetting."""
    return [_address(variable, word) for word in env.words(variable, default)]


def require_apart(public: Iterable[Address], admin: Iterable[Address]) -> None:
    """Refuse combinations that gunicorn cannot serve, or would silently change. Raises BadSetting."""
    both = [*public, *admin]
    if len({address.is_descriptor for address in both}) > 1:
        # gunicorn listens only on descriptors if it is given any.
        raise BadSetting(
            "BIND and ADMIN_BIND: fd:// cannot be mixed with other addresses; hand over all sockets or none."
        )
    for index, one in enumerate(both):
        for other in both[:index]:
            if _is_same(one.name, other.name):
                raise BadSetting(
                    f"BIND and ADMIN_BIND: {other.text} and {one.text} are the same address: choose different ones."
                )


def _address(variable: str, word: str) -> Address:
    if word.startswith("unix:"):
        return _path(variable, word)
    if word.startswith("fd://"):
        return _descriptor(variable, word)
    found = re.fullmatch(r"(?:tcp://)?(?:\[([^\[\]]*)\]|([^\[\]:/\s]*)):([0-9]{1,5})", word, re.ASCII)
    if found is None or not 1 <= int(found[3]) <= 65_535:
        raise BadSetting(f"{variable}={word!r} is not an address to listen on: {FORMS}.")
    host, port = found[1] if found[1] is not None else found[2], int(found[3])
    # Brackets hold an IPv6 address, never a name, even one this machine could resolve (RFC 3986, 3.2.2).
    family, flags = (socket.AF_INET, 0) if found[1] is None else (socket.AF_INET6, socket.AI_NUMERICHOST)
    try:
        name = socket.getaddrinfo(host or "0.0.0.0", port, family, socket.SOCK_STREAM, 0, flags)[0][4]  # noqa: S104 - the operator's choice
    except (OSError, UnicodeError) as error:
        raise BadSetting(f"{variable}={word!r} names a host that this machine cannot resolve: {FORMS}.") from error
    text = f"[{host}]:{port}" if found[1] is not None else f"{host or '0.0.0.0'}:{port}"  # noqa: S104
    return Address(text, (str(name[0]), port))


def _path(variable: str, word: str) -> Address:
    path = re.sub(r"^unix:(//)?", "", word)
    if not path or len(os.fsencode(path)) > LONGEST_PATH:
        raise BadSetting(f"{variable}={word!r} has no path, or one longer than {LONGEST_PATH} bytes: {FORMS}.")
    if not Path(path).parent.is_dir():
        raise BadSetting(f"{variable}={word!r} is in a folder that does not exist.")
    return Address(f"unix:{path}", path)


def _descriptor(variable: str, word: str) -> Address:
    number = word.removeprefix("fd://")
    try:
        if not (number.isascii() and number.isdigit()):
            raise ValueError
        with socket.socket(fileno=os.dup(int(number))) as handed_over:
            name = handed_over.getsockname()
    except (OSError, ValueError, OverflowError) as error:
        raise BadSetting(f"{variable}={word!r} is not a socket handed over to this process.") from error
    return Address(word, name if isinstance(name, str) else (str(name[0]), int(name[1])))


def _is_same(one: Name, other: Name) -> bool:
    """Would binding one prevent binding the other?"""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    anywhere = {"0.0.0.0", "::"}  # noqa: S104
    return one[1] == other[1] and (one[0] == other[0] or bool({one[0], other[0]} & anywhere))


def is_bound_to(listener: socket.socket, names: Iterable[Name]) -> bool:
    """Is the socket bound to one of these? A name has two parts for IPv4, four for IPv6, or is a path."""
    name = listener.getsockname()
    return (name if isinstance(name, str) else (name[0], name[1])) in names
