"""Colours as WCAG 2.2 measures them, so that an operator's colour stays readable in both schemes."""

from __future__ import annotations

import re
from typing import NamedTuple

READABLE = 4.5  # WCAG 1.4.3, level AA, for text of any size
WHITE, BLACK = "#ffffff", "#000000"
LIGHT_PAGE, DARK_PAGE = "#f6f7f9", "#171b22"  # the backgrounds in console.css that leave text the least contrast

_STEPS = 40


class Accent(NamedTuple):
    """A colour for links and buttons, and the colour of text on top of it."""

    colour: str
    text: str


def is_colour(text: str) -> bool:
    """Whether this is a colour written as #rrggbb."""
    return re.fullmatch(r"#[0-9a-fA-F]{6}", text) is not None


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def accent_on(page: str, colour: str) -> Accent:
    """The colour itself where it is readable on the page, else the nearest shade of it that is."""
    towards = BLACK if _luminance(page) > 0.5 else WHITE
    shades = (_mixed(colour, towards, step / _STEPS) for step in range(_STEPS + 1))
    shade = next(shade for shade in shades if contrast(shade, page) >= READABLE)
    return Accent(shade, max((WHITE, BLACK), key=lambda text: contrast(shade, text)))


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(channel / 255) for channel in _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _mixed(colour: str, other: str, share: float) -> str:
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(one + (two - one) * share):02x}" for one, two in pairs)
