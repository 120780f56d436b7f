"""The catalogues: complete, current, compiled, and typeset as each language wants it."""

from __future__ import annotations

import ast
import re

import pytest
from babel.messages import Message

from tests import messages
from tests.servers import ROOT

EACH = pytest.mark.parametrize("file", messages.catalogues(), ids=lambda file: file.parts[-3])
PLACES = re.compile(r"%\(\w+\)[sd]|%%|(?<![%$])\{\w+\}")
TAGS = re.compile(r"</?[a-z][^>]*>")


def test_there_is_a_catalogue():
    assert messages.catalogues()


@EACH
def test_each_string_is_translated_and_none_is_left_over(file):
    assert file.read_bytes() == messages.written(messages.translated(file)), "run `make messages`"
    assert not messages.untranslated(messages.read(file))
    assert b"fuzzy" not in file.read_bytes() and b"#~" not in file.read_bytes()


@pytest.mark.parametrize("file", [*messages.catalogues(), messages.OUR_ENGLISH], ids=lambda file: file.parts[-3])
def test_what_is_installed_is_what_the_catalogue_compiles_to(file):
    assert file.with_suffix(".mo").read_bytes() == messages.compiled(messages.read(file)), "run `make messages`"


def forms(message: Message) -> list[tuple[str, str]]:
    """What is written in English, and what in the catalogue's language, for one thing and for several."""
    if isinstance(message.id, str):
        return [(message.id, str(message.string))]
    return [(message.id[min(number, 1)], form) for number, form in enumerate(message.string or ())]


@pytest.mark.parametrize("folder", messages.FOLDERS)
def test_no_message_hides_in_an_f_string(folder):
    """Before Python 3.12 an f-string is one token: what is marked inside of it is not found."""
    for file in (ROOT / folder).rglob("*.py"):
        for text in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.JoinedStr)):
            called = [node.func for node in ast.walk(text) if isinstance(node, ast.Call)]
            marked = [one.id for one in called if isinstance(one, ast.Name) and ("gettext" in one.id or one.id == "_")]
            assert not marked, f"{file}:{text.lineno}"


@EACH
def test_translations_have_the_same_places_and_tags(file):
    for message in messages.read(file):
        for english, translation in forms(message) if message.id else ():
            assert sorted(PLACES.findall(translation)) == sorted(PLACES.findall(english)), translation
            assert sorted(TAGS.findall(translation)) == sorted(TAGS.findall(english)), translation


def test_french_is_typeset_as_french():
    """Spaces that cannot break before high punctuation and inside guillemets, and no straight or English quotes."""
    (file,) = (file for file in messages.catalogues() if file.parts[-3] == "fr")
    for message in messages.read(file):
        for _, french in forms(message) if message.id else ():
            words = TAGS.sub("", french)
            assert not re.search(r" [;:!?»](?!\w)| %(?![(\w])", words), french
            assert not re.search(r"\w[;!?](?=\s|$)|«(?![\xa0\u202f])|(?<!\xa0)»", words), french
            assert not re.search(r"[A-Za-zé]'[A-Za-zéêh]|[“”\"]|\.\.\.", words), french
