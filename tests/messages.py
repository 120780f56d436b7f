"""`make messages`: collects every marked string of the product into the catalogues of console/locale, and compiles them.

Like Django's makemessages and compilemessages, but in Python: a machine needs no gettext.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import django
from babel.messages import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

from tests.servers import ROOT

FOLDERS = ("authsvc", "console", "api", "traefik", "accounts", "quotas", "runtime", "store")
CATALOGUES = ROOT / "console" / "locale"
OUR_ENGLISH = CATALOGUES / "en" / "LC_MESSAGES" / "django.po"  # our words for some of allauth's, written by hand
KEYWORDS = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "npgettext_lazy": ((1, "c"), 2, 3),
}


class Words(Catalog):
    """A catalogue without dates and names in its head, so that the same strings are always the same file."""

    @property
    def mime_headers(self) -> list[tuple[str, str]]:
        return [
            ("Language", str(self.locale_identifier)),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Transfer-Encoding", "8bit"),
            ("Plural-Forms", self.plural_forms),
        ]


def catalogues() -> list[Path]:
    """Those of languages that messages are translated into."""
    return sorted(file for file in CATALOGUES.glob("*/LC_MESSAGES/django.po") if file != OUR_ENGLISH)


def marked(language: str) -> Words:
    """Every marked string of the product, with the files that it is in, still without translations."""
    found = _empty(language)
    for file in _sources():
        for _, message, comments, context in extract("python", _python(file), KEYWORDS, ("Translators:",)):
            found.add(message, None, [(str(file.relative_to(ROOT)), 0)], auto_comments=comments, context=context)
    for words in _words_of_tables():
        found.add(words, None, [("console/operators/translated.py", 0)])
    return found


def _words_of_tables() -> list[str]:
    """Those that the models use of themselves, which no call of gettext contains."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from console.operators.translated import WORDS

    return WORDS


def _empty(language: str) -> Words:
    return Words(language, fuzzy=False, header_comment="# Written by `make messages`, except for the translations.")


def _sources() -> Iterator[Path]:
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix == ".py" or (file.suffix in (".html", ".txt") and "templates" in file.parts):
                yield file


def _python(file: Path) -> io.BytesIO:
    """The file as Python. A template becomes a call for each of its marked strings, one after another."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        text = "\n".join(line.lstrip() for line in templatize(text, str(file)).splitlines())
    return io.BytesIO(text.encode())


def read(file: Path) -> Words:
    found = _empty(file.parts[-3])
    with file.open("rb") as lines:
        for message in read_po(lines, locale=file.parts[-3], abort_invalid=True):
            if message.id:
                found[message.id] = message
    return found


def translated(file: Path) -> Words:
    """What is marked now, with the translations that the file has. Those of strings that are gone are dropped."""
    before, now = read(file), marked(file.parts[-3])
    for message in now:
        known = before.get(message.id, message.context) if message.id else None
        if known is not None and not known.fuzzy:
            message.string, message.user_comments = known.string, known.user_comments
    return now


def written(catalogue: Catalog) -> bytes:
    text = io.BytesIO()
    write_po(text, catalogue, width=120, sort_by_file=True, include_lineno=False, ignore_obsolete=True)
    return text.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    content = io.BytesIO()
    write_mo(content, catalogue)
    return content.getvalue()


def untranslated(catalogue: Catalog) -> list[str]:
    """The strings that have no translation, or lack one of their plural forms."""
    return [str(one.id) for one in catalogue if one.id and not all(_forms(one.string, catalogue.num_plurals, one))]


def _forms(string: str | tuple[str, ...] | list[str] | None, plurals: int, message: Message) -> tuple[str, ...]:
    if message.pluralizable:
        return tuple(string or ()) + ("",) * (plurals - len(string or ()))
    return (str(string or ""),)


def compile_beside(file: Path) -> None:
    file.with_suffix(".mo").write_bytes(compiled(read(file)))


def main() -> None:
    compile_beside(OUR_ENGLISH)
    for file in catalogues():
        catalogue = translated(file)
        file.write_bytes(written(catalogue))
        compile_beside(file)
        missing = untranslated(catalogue)
        sys.stdout.write(f"{file.relative_to(ROOT)}: {len(catalogue)} strings, {len(missing)} without a translation\n")


if __name__ == "__main__":
    main()
