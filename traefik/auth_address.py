"""The address a ForwardAuth middleware calls: `https://HOST:PORT/auth/?model=NAME`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from quotas.models import SLUG

PATH = "/auth/"
INTERNAL = "https://127.0.0.1:8900"  # the stacks' internal entry point; with https ForwardAuth uses HTTP/2


@dataclass(frozen=True, slots=True)
class AuthAddress:
    """A ForwardAuth's address, parsed. `pin` is "" if no model is pinned, None if it cannot be read."""

    origin: str  # scheme://host:port, in lower case, always with the port
    path: str
    pin: str | None

    @property
    def is_for_a_gate(self) -> bool:
        """Does it call `/auth/`? Without the final slash the gate refuses, but a gate was meant."""
        return self.path in (PATH, PATH.rstrip("/"))

    @property
    def scheme(self) -> str:
        return self.origin.partition("://")[0]

    @property
    def is_of_this_machine(self) -> bool:
        return is_loopback(urlsplit(self.origin).hostname)

    def is_asked_at(self, origin: str) -> bool:
        """Does it call this origin, whether by http or https? An entry point of Traefik takes both on one port."""
        return self.origin.partition("://")[2] == origin.partition("://")[2]


def auth_address(gate_url: str, model: str) -> str:
    """The address that asks a gate about a model."""
    return f"{gate_url.rstrip('/')}{PATH}?model={model}"


def read_auth_address(address: str) -> AuthAddress | None:
    """None if it is not an HTTP address."""
    origin = origin_of(address)
    if origin is None:
        return None
    parts = urlsplit(address)
    return AuthAddress(origin, parts.path, _pin(parts.query))


def origin_of(url: str) -> str | None:
    """Scheme, host and port in normalised form, so that two can be compared."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https", "h2c") or not host:
        return None
    bare = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{bare}:{port or (443 if parts.scheme == 'https' else 80)}"


def is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _pin(query: str) -> str | None:
    """As the gate reads it: the whole query must be exactly one pin."""
    if not query:
        return ""
    pin = re.fullmatch(f"model=({SLUG})", query)
    return pin[1] if pin is not None else None
