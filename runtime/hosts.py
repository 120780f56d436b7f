"""Host names and URLs in settings, normalised as browsers do it: an `Origin` is compared letter by letter.

A browser writes a host in lower case and in ASCII (IDNA) and an IPv6 address in its short form, and leaves out the
scheme's default port.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Literal
from urllib.parse import SplitResult, urlsplit

import idna

from runtime import env
from runtime.env import BadSetting

_PORTS = {"http": 80, "https": 443}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # the underscore is left to check W001, which explains it
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)

Rest = Literal["nothing", "path", "anything"]


def normal_host(host: str) -> str:
    """The host as browsers write it, with brackets around an IPv6 address. Raises ValueError."""
    if host.startswith("[") or ":" in host:
        if "%" in host:
            raise ValueError(f"{host!r} has a zone, which is only valid on one machine")
        return f"[{IPv6Address(host.strip('[]')).compressed}]"
    host = host.removesuffix(".")
    name = host.lower() if host.isascii() else _in_ascii(host)
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise ValueError(f"{host!r} is not a host name")
    if name.rpartition(".")[2].isdigit():
        return str(IPv4Address(name))
    return name


def _in_ascii(host: str) -> str:
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"{host!r} is not a host name") from error


def web_address(name: str, default: str, *, rest: Rest = "nothing") -> str:
    """An http:// or https:// URL without a trailing slash; `rest` says what may follow the host. Raises BadSetting."""
    raw = env.text(name, default)
    expected = f"{name} is not a usable URL: write https://HOST or http://HOST:PORT"
    try:
        parts = urlsplit(raw)
        origin = _origin(parts)
    except ValueError as error:
        raise BadSetting(f"{expected}.") from error
    if parts.username is not None or parts.password is not None:
        raise BadSetting(f"{expected}, without a user or password.")
    beyond = parts.path.rstrip("/"), "?" in raw or "#" in raw
    if (rest == "nothing" and any(beyond)) or (rest == "path" and beyond[1]) or re.search(r"[\s\\<>\"]", raw):
        what = {"nothing": "a path", "path": "a query", "anything": "spaces, quotes, <, > or backslashes"}[rest]
        raise BadSetting(f"{expected}, without {what}.")
    after = re.sub(r"^[^:]*://[^/?#]*", "", raw)
    return origin + (after if beyond[1] else beyond[0])


def optional_address(name: str, default: str) -> str:
    """A web address with a path perhaps, or nothing. BadSetting."""
    return web_address(name, default, rest="path") if env.text(name, default) else ""


def _origin(parts: SplitResult) -> str:
    """Raises ValueError."""
    scheme, port = parts.scheme.lower(), parts.port
    if scheme not in _PORTS or not parts.hostname or parts.netloc.endswith(":") or port == 0:
        raise ValueError("neither http nor https, or no host, or a bad port")
    host = normal_host(f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname)
    return f"{scheme}://{host}" + (f":{port}" if port not in (None, _PORTS[scheme]) else "")


def host_names(name: str, default: str) -> list[str]:
    """Comma-separated host names; `*` means any, `.example.org` a domain and its subdomains. Raises BadSetting."""
    return [_host_name(name, word) for word in env.words(name, default)]


def _host_name(name: str, word: str) -> str:
    dot = "." if word.startswith(".") else ""
    try:
        return word if word == "*" else dot + normal_host(word.removeprefix("."))
    except ValueError as error:
        raise BadSetting(
            f"{name}: {word!r} is not a host name: write names such as console.example.org, without scheme or port."
        ) from error
