"""Readers of environment variables. Any variable NAME may be given as a file instead: NAME_FILE holds its path."""

from __future__ import annotations

import os
import secrets
import unicodedata
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from runtime.networks import Network, read_network

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=36_500)  # beyond it, now plus a duration overflows datetime


class BadSetting(ImproperlyConfigured):
    """A variable cannot be used; the text names it and says what to write."""


class Missing(BadSetting):
    """A variable without a safe default is not set."""


def text(name: str, default: str | None = None) -> str:
    """The variable, or the content of the file that NAME_FILE names, stripped of surrounding white space.

    Blank counts as not set, because compose files pass unset variables on as empty strings.
    """
    value, file = _stripped(name), _stripped(f"{name}_FILE")
    if value and file:
        raise BadSetting(f"{name} and {name}_FILE are both set: keep only one.")
    if file:
        try:
            value = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise BadSetting(f"{name}_FILE names {file}, which cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise BadSetting(f"{name}_FILE names {file}, which is not UTF-8 text.") from error
    if value:
        return _one_line(name, value)
    if default is None:
        found = f"{name}_FILE names {file}, which is empty" if file else f"{name} is not set"
        raise Missing(
            f"{found}: set {name}, or {name}_FILE to a file that holds it (or DEBUG=1, only to try authsvc out)."
        )
    return default


def _one_line(name: str, value: str) -> str:
    """Refuse line breaks and control characters, which would trip up a terminal, a header or a driver later."""
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
        raise BadSetting(f"{name} contains a line break, a control character or invalid UTF-8.")
    return value


def _stripped(name: str) -> str:
    return os.environ.get(name, "").strip()


def number(name: str, default: float, *, least: float = 0, most: float = 1e12) -> float:
    """A number in a range; the error names both ends."""
    raw = text(name, str(default))
    try:
        value = float(raw)
    except ValueError as error:
        raise BadSetting(f"{name}={raw!r} is not a number.") from error
    if not least <= value <= most:
        raise BadSetting(f"{name}={raw} is not between {least:g} and {most:g}.")
    return value


def count(name: str, default: int, *, least: int, most: int) -> int:
    """A whole number in a range."""
    value = number(name, default, least=least, most=most)
    if value != int(value):
        raise BadSetting(f"{name}={value:g} is not a whole number.")
    return int(value)


def flag(name: str, *, default: bool) -> bool:
    """1, true, yes, on or 0, false, no, off; upper or lower case."""
    raw = text(name, "1" if default else "0").lower()
    if raw in ("1", "true", "yes", "on"):
        return True
    if raw in ("0", "false", "no", "off"):
        return False
    raise BadSetting(f"{name}={raw!r} is neither 1 nor 0.")


def choice(name: str, *allowed: str) -> str:
    """One of the allowed words; the first is the default."""
    raw = text(name, allowed[0])
    if raw not in allowed:
        raise BadSetting(f"{name}={raw!r} is not one of: {', '.join(allowed)}.")
    return raw


def host_of(url: str) -> str:
    """The host of a URL in the form of ALLOWED_HOSTS; blank if it has none."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return f"[{host}]" if ":" in host else host


def words(name: str, default: str) -> list[str]:
    """Comma-separated words."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def networks(name: str, default: str) -> tuple[Network, ...]:
    """Comma-separated addresses and networks in CIDR form."""
    found = []
    for word in words(name, default):
        try:
            found.append(read_network(word))
        except ValueError as error:
            raise BadSetting(f"{name}: {error}. Write networks such as 172.16.0.0/12, separated by commas.") from error
    return tuple(found)


def secret(name: str, *, made_in: Path | None, least: int = 32) -> str:
    """A secret of at least `least` characters. With `made_in` (DEBUG) a missing one is made there, once."""
    try:
        value = text(name)
    except Missing:
        if made_in is None:
            raise
        value = _made_once(made_in / name)
    if len(value) < least:
        raise BadSetting(f"{name} has {len(value)} characters; it needs at least {least}.")
    return value


def old_secret(name: str) -> str:
    """A secret that was in use earlier, or blank."""
    return secret(name, made_in=None) if text(name, "") else ""


def _made_once(path: Path) -> str:
    """The secret in this file. The first process to need it makes it, atomically."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48), encoding="utf-8")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        draft.unlink()
    return path.read_text(encoding="utf-8").strip()


def duration(raw: str) -> timedelta:
    """`90s`, `15m`, `12h`, `30d`: a positive whole number and a unit. Raises ValueError saying what is expected."""
    amount, unit = raw[:-1], raw[-1:]
    if unit not in _UNITS or not (amount.isascii() and amount.isdigit()) or not amount.strip("0"):
        raise ValueError(f"{raw!r} is not a duration: write a whole number followed by s, m, h or d, such as 30d.")
    if len(amount) > 12 or int(amount) * _UNITS[unit] > _LONGEST.total_seconds():
        raise ValueError(f"{raw!r} is longer than {_LONGEST.days}d.")
    return timedelta(seconds=int(amount) * _UNITS[unit])
