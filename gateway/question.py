"""The address that ForwardAuth asks: `http://HOST:PORT/auth/?model=NAME`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from quotas.models import SLUG

PATH = "/auth/"


@dataclass(frozen=True, slots=True)
class Question:
    """A ForwardAuth's address, taken apart. `pin` is "" where no model is pinned, None where it cannot be read."""

    origin: str  # scheme://host:port, in lower case, the port always there
    path: str
    pin: str | None

    @property
    def is_for_a_gate(self) -> bool:
        """Whether it asks at `/auth/`; without the slash Traefik asks in vain, but a gate was meant."""
        return self.path in (PATH, PATH.rstrip("/"))


def address_of(gate_url: str, model: str) -> str:
    """The address that pins a model."""
    return f"{gate_url.rstrip('/')}{PATH}?model={model}"


def read_question(address: str) -> Question | None:
    """None for what is no address of HTTP."""
    origin = origin_of(address)
    if origin is None:
        return None
    parts = urlsplit(address)
    return Question(origin, parts.path, _pin(parts.query))


def origin_of(url: str) -> str | None:
    """Scheme, host and port, in the one form in which two can be compared."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https", "h2c") or not host:
        return None
    bare = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{bare}:{port or (443 if parts.scheme == 'https' else 80)}"


def _pin(query: str) -> str | None:
    pins = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "model"]
    if not pins:
        return ""
    return pins[0] if len(pins) == 1 and re.fullmatch(SLUG, pins[0]) else None
