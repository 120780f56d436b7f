"""Readers of the settings that make the console the operator's own: name, colour, logo and support address."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from console.colours import is_colour
from runtime.env import BadSetting

LOGO_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp"}
LONGEST_NAME = 40  # characters; the sidebar has room for about half of that on one line
MOST_LOGO_BYTES = 256 * 1024

_EMAIL = re.compile(r"[!#-'*+/-9=?A-Z^-~.-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)
_WEB = re.compile(r"https?://[A-Za-z0-9][!#-;=?-Z_a-z~\[\]]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Logo:
    """An image that stands beside the name."""

    content: bytes = field(repr=False)
    content_type: str


def name(text: str) -> str:
    if len(text) > LONGEST_NAME:
        raise BadSetting(f"AUTHSVC_BRAND_NAME has {len(text)} characters; it may have {LONGEST_NAME}.")
    return text


def colour(text: str) -> str:
    if not is_colour(text):
        raise BadSetting("AUTHSVC_BRAND_COLOUR is not a colour: write #rrggbb, such as #0f766e.")
    return text.lower()


def logo(path: str, base: Path) -> Logo | None:
    """The image in this file, read once at the start; None where no path is set."""
    if not path:
        return None
    file = base / path
    if file.suffix.lower() not in LOGO_TYPES:
        raise BadSetting(f"AUTHSVC_BRAND_LOGO must name a file that ends in {', '.join(LOGO_TYPES)}.")
    try:
        content = file.read_bytes()
    except (OSError, ValueError) as error:
        raise BadSetting("AUTHSVC_BRAND_LOGO names a file that cannot be read.") from error
    if len(content) > MOST_LOGO_BYTES:
        raise BadSetting(f"AUTHSVC_BRAND_LOGO names a file of more than {MOST_LOGO_BYTES // 1024} KB.")
    return Logo(content, LOGO_TYPES[file.suffix.lower()])


def support(text: str) -> str:
    """Where people ask for help, as a link: an email address becomes mailto:."""
    if not text or _WEB.fullmatch(text):
        return text
    if _EMAIL.fullmatch(text):
        return f"mailto:{text}"
    raise BadSetting("AUTHSVC_SUPPORT is neither an email address nor an http:// or https:// address.")
