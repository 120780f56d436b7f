"""Labels, the text people give to things: one printable line on the way in, harmless on the way out."""

from __future__ import annotations

import unicodedata

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy

ONE_LINE = gettext_lazy("Use one line of printable characters: U+{code:04X} is not allowed.")
MOST_MARKS = 8  # accents on one letter; more would reach into the lines above

_ZWNJ, _ZWJ = "\u200c", "\u200d"
_SELECTORS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
# Unicode calls these letters, marks and symbols, but they are invisible.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
# New emoji are added here each year, before the Python version that knows them.
_EMOJI = range(0x1F000, 0x1FB00)


def one_line(text: str) -> None:
    """The validator of every field that holds a label: refuse anything but one printable line."""
    if (odd := odd_character(text)) is not None:
        raise ValidationError(ONE_LINE.format(code=ord(odd)), code="not_one_line")


def odd_character(text: str) -> str | None:
    """The first character that a label may not contain: a control, a line break, a change of text direction, an
    invisible character or an unassigned code point."""
    if text.isascii():  # nearly always
        return None if text.isprintable() else next(one for one in text if not one.isprintable())
    marks = 0
    before = ""
    for one in text:
        marks = marks + 1 if unicodedata.category(one) == "Mn" else 0
        if marks > MOST_MARKS or not _is_visible(before, one):
            return one
        before = one
    if text.endswith((_ZWJ, _ZWNJ)):
        return text[-1]
    return None


def _is_visible(before: str, one: str) -> bool:
    if one in (_ZWJ, _ZWNJ):
        return _joins(before, one)
    if one in _SELECTORS:
        return bool(before) and not before.isspace() and before not in _SELECTORS
    return one not in _BLANK and not acts(one)


def _joins(before: str, joiner: str) -> bool:
    """Does a joiner have an effect there? It does in Persian and Indic words, and inside emoji."""
    if not before:
        return False
    if unicodedata.combining(before) == 9:  # a virama
        return True
    if joiner == _ZWJ:
        return before in _SELECTORS or unicodedata.category(before) in ("So", "Sk") or ord(before) in _EMOJI
    return unicodedata.bidirectional(before) in ("AL", "NSM")  # Arabic script


def acts(one: str) -> bool:
    """Is it a control, or unassigned? Such characters are escaped on the way out."""
    category = unicodedata.category(one)
    if category == "Cn":
        return ord(one) not in _EMOJI
    return category in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co")


def escaped(text: str) -> str:
    r"""The text for a terminal or a mail, with an escape character as `\x1b`. Line breaks and tabs are kept."""
    if text.isascii() and text.isprintable():
        return text
    kept = ("\n", "\t", _ZWJ, _ZWNJ)
    return "".join(one if one in kept or not acts(one) else one.encode("unicode_escape").decode() for one in text)
