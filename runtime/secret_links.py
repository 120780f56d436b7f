"""Links that are secrets: anyone who has one may use it, so no log may contain one.

The routers without an access log (deploy/traefik/stack/secret-links.yml, deploy/compose/minimal.yml) repeat PATH.
tests/runtime/test_secret_links.py compares them, and fails for a route with a token that is missing here.
"""

from __future__ import annotations

import re

PREFIXES = (
    "/first-operator/",
    "/invitations/",
    "/accounts/confirm-email/",
    "/accounts/password/reset/key/",
)

# For Traefik rules: PathRegexp(`…`).
PATH = f"^/({'|'.join(prefix.strip('/') for prefix in PREFIXES)})/."

_LINK = re.compile(rf"((?:{'|'.join(PREFIXES)}))[^/\s?&#\"']+", re.IGNORECASE)
_QUOTED_LINK = re.compile(
    rf"((?:{'|'.join(prefix.replace('/', '%2F') for prefix in PREFIXES)}))[^/\s?&#\"'%]+", re.IGNORECASE
)


def without_secrets(text: str) -> str:
    """The text with each link's secret replaced by `…`, also where the link is the `next` parameter of another URL."""
    return _QUOTED_LINK.sub(r"\1…", _LINK.sub(r"\1…", text))
