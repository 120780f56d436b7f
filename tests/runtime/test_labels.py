"""Labels: text in any language passes, characters that act on a terminal or mislead a reader do not."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from django.core.exceptions import ValidationError

from runtime.labels import escaped, odd_character, one_line

PASS = [
    "",
    "acme",
    "Zoë Müller & Söhne – «Œuvre» n° 5",
    "Vi\u1ec7t Nam",
    unicodedata.normalize("NFD", "Việt Nam"),
    "山田\u3000太郎",
    "葛\U000e0100飾",
    "한국어",
    "ไทย",
    "שָׁלוֹם",
    "می\u200cخواهم",
    "क्\u200dष",
    "a\u00a0b",
    "👩\u200d💻 team",
    "❤\ufe0f\u200d🔥",
    "👍🏽",
    "🏳\ufe0f\u200d🌈",
    "1\ufe0f\u20e3",
    "\U0001fae8",
]
REFUSED = [
    "\0",
    "\t",
    "a\nb",
    "a\r",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "\x9b1m",
    "a\u2028b",
    "a\u2029b",
    "\u202eabc",
    "\u2066a\u2069",
    "\u061ca",
    "\u200ea",
    "a\u200bb",
    "a\u2060b",
    "\ufeffa",
    "\xada",
    "\u180ea",
    "\ud800",
    "\ue000",
    "\ufffe",
    "\u0378",
    "\U0010ffff",
    "\U000e0041",
    "\u3164",
    "\u115f",
    "\u2800",
    "a\u034fb",
    "a\u200db",
    "a\u200cb",
    "\u200d",
    "\ufe0fa",
    " \ufe0f",
    "💻\u200d",
    "a" + "\u0301" * 9,
]


@pytest.mark.parametrize("text", PASS, ids=ascii)
def test_a_label_in_any_language_passes(text):
    one_line(text)


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
def test_anything_but_one_printable_line_is_refused_and_named(text):
    with pytest.raises(
        ValidationError, match=r"Use one line of printable characters: U\+[0-9A-F]{4,6} is not allowed\."
    ):
        one_line(text)


def test_every_character_that_a_label_may_have_is_printed_as_it_is():
    for code in range(sys.maxunicode + 1):
        if odd_character(f"a{chr(code)}") is None:
            assert escaped(chr(code)) == chr(code)
            assert len(f"a{chr(code)}b".splitlines()) == 1


def test_control_characters_are_printed_escaped_and_lines_stay_lines():
    assert escaped("a\x1b[2J\x9b\u202e\ud800\r\n\tz") == "a\\x1b[2J\\x9b\\u202e\\ud800\\r\n\tz"
