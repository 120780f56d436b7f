"""A test language: French, with ⟦brackets⟧ around each message. Words outside brackets were never marked or never translated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

from django.utils.translation import trans_real

_WITHOUT_BRACKETS = "date format"  # such messages are not read but obeyed
_MISSING = object()
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_NOT_PROSE = {"script", "style", "code", "pre", "samp", "svg", "textarea"}
_READ_ALOUD = ("title", "alt", "placeholder", "aria-label", "aria-description", "content")
_BUTTONS = {"submit", "button", "reset"}
_INNERMOST = re.compile(r"⟦[^⟦⟧]*⟧")
_WORD = re.compile(r"[^\W\d_]{2,}(?:[-’'.@/:_\w]*\w)?")


class _Bracketed:
    """A catalogue that says what another says, in brackets; what that one lacks stays as it is."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def gettext(self, message: str) -> str:
        known = self._real._catalog.get(message, _MISSING) is not _MISSING
        return self._wrapped(message, self._real.gettext(message)) if known else message

    def ngettext(self, one: str, several: str, number: int) -> str:
        try:
            return self._wrapped(one, self._real._catalog.plural(one, number))
        except KeyError:
            return str(self._real.ngettext(one, several, number))

    @staticmethod
    def _wrapped(message: str, said: str) -> str:
        return said if message.startswith(_WITHOUT_BRACKETS) else f"⟦{said}⟧"


@contextmanager
def brackets(language: str = "fr") -> Iterator[None]:
    """Messages of the language are in brackets."""
    real = trans_real.translation(language)
    loaded: dict[str, Any] = vars(trans_real)["_translations"]  # Django makes another when a test changes LANGUAGES
    loaded[language] = _Bracketed(real)
    try:
        yield
    finally:
        loaded[language] = real


class _Prose(HTMLParser):
    """The text of a page and what its attributes say."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.said: list[str] = []
        self._skipped: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attributes}
        if tag not in _VOID and (
            self._skipped or tag in _NOT_PROSE or has.get("translate") == "no" or "mono" in has.get("class", "").split()
        ):
            self._skipped.append(tag)
        if not self._skipped:
            self.said += [has[name] for name in _READ_ALOUD if name in has and tag not in ("meta", "link")]
            self.said += [has["value"]] if has.get("type") in _BUTTONS and "value" in has else []

    def handle_endtag(self, tag: str) -> None:
        if self._skipped and self._skipped[-1] == tag:
            self._skipped.pop()

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.texts.append(data)


def words_outside(text: str) -> list[str]:
    """The words that are in no brackets."""
    before = ""
    while before != text:
        before, text = text, _INNERMOST.sub(" ", text)
    return _WORD.findall(text)


def words_outside_on(page: str) -> list[str]:
    prose = _Prose()
    prose.feed(page)
    return [word for text in (" ".join(prose.texts), *prose.said) for word in words_outside(text)]
