"""What a session was started with and from, as people say it."""

from __future__ import annotations

import re

from django.utils.translation import gettext

from runtime.networks import read_address

# The first that matches names it: Edge and Opera call themselves Chrome too, and Chrome calls itself Safari.
_BROWSERS = (
    ("Edge", r"\bEdgA?(?:iOS)?/"),
    ("Opera", r"\bOPR/"),
    ("Samsung Internet", r"\bSamsungBrowser/"),
    ("Firefox", r"\b(?:Firefox|FxiOS)/"),
    ("Chrome", r"\b(?:Chrome|Chromium|CriOS|HeadlessChrome)/"),
    ("Safari", r"\bVersion/[\d.]+.*\bSafari/"),
    ("curl", r"^curl/"),
    ("Python", r"^python-requests/|^Python-urllib/"),
)
_SYSTEMS = (
    ("iPhone", r"\biPhone\b"),
    ("iPad", r"\biPad\b"),
    ("Android", r"\bAndroid\b"),
    ("ChromeOS", r"\bCrOS\b"),
    ("Windows", r"\bWindows\b"),
    ("macOS", r"\bMac OS X\b|\bMacintosh\b"),
    ("Linux", r"\bLinux\b"),
)
_SAME_NETWORK = {4: 24, 6: 64}  # bits


def device_of(user_agent: str) -> str:
    """Mozilla/5.0 (X11; Linux x86_64; …) Firefox/140.0 → Firefox on Linux"""
    browser, system = _first(_BROWSERS, user_agent), _first(_SYSTEMS, user_agent)
    if browser and system:
        return gettext("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system or gettext("An unknown device")


def _first(known: tuple[tuple[str, str], ...], text: str) -> str:
    return next((name for name, pattern in known if re.search(pattern, text)), "")


def place_of(address: str, here: str) -> str:
    """How the address relates to the one that asks: we know networks, and no map."""
    if address == here:
        return gettext("Your current address")
    if _is_near(address, here):
        return gettext("Your current network")
    return gettext("A different network")


def _is_near(one: str, other: str) -> bool:
    try:
        first, second = read_address(one), read_address(other)
    except ValueError:
        return False
    if first.version != second.version:
        return False
    shift = first.max_prefixlen - _SAME_NETWORK[first.version]
    return int(first) >> shift == int(second) >> shift
