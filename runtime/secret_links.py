"""Addresses that are secrets: whoever has the link may use it, so no log holds one.

The routers without an access log (deploy/traefik/stack/secret-links.yml, deploy/compose/minimal.yml) repeat PATH;
tests/runtime/test_secret_links.py compares them, and finds a route with a token that is missing here.
"""

from __future__ import annotations

import re

PREFIXES = (
    "/first-operator/",
    "/invitations/",
    "/accounts/confirm-email/",
    "/accounts/password/reset/key/",
)

# As a rule of Traefik's: PathRegexp(`…`).
PATH = f"^/({'|'.join(prefix.strip('/') for prefix in PREFIXES)})/."

_LINK = re.compile(rf"((?:{'|'.join(PREFIXES)}))[^/\s?&#\"']+", re.IGNORECASE)
_QUOTED_LINK = re.compile(
    rf"((?:{'|'.join(prefix.replace('/', '%2F') for prefix in PREFIXES)}))[^/\s?&#\"'%]+", re.IGNORECASE
)


def without_secrets(text: str) -> str:
    """The same text with each link cut off before its secret, also where it is the `next` of another address."""
    return _QUOTED_LINK.sub(r"\1…", _LINK.sub(r"\1…", text))
