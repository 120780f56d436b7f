"""Questions as bytes, as Traefik sends them."""

from __future__ import annotations

from tests.gate.conftest import question


def packed(key: str, target: str = "/auth/?model=sm", **changes: str) -> bytes:
    """A complete question, ready to be sent."""
    lines = [f"GET {target} HTTP/1.1", "Host: gate", *(f"{name}: {value}" for name, value in question(key, **changes))]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
