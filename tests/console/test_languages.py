"""The language of pages: by choice, by browser, and never for programs."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from console import languages
from runtime.env import BadSetting
from tests.console.conftest import person

pytestmark = pytest.mark.django_db(transaction=True)


def spoken(client: Client, path: str = "/login/", **headers: str) -> str:
    """The language that the page says it is in, everywhere that it says so."""
    answer = client.get(path, headers=headers)
    (tag,) = re.findall(r'<html lang="([^"]*)"', answer.content.decode())
    assert answer["Content-Language"] == tag
    assert {"Accept-Language", "Cookie"} <= set(answer["Vary"].split(", "))
    return str(tag)


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("fr", "fr"),
        ("fr-CA,fr;q=0.9", "fr"),
        ("de,fr;q=0.5,en;q=0.4", "fr"),
        ("de,en-US;q=0.9,fr;q=0.8", "en"),
        ("de", "en"),
        ("*", "en"),
        ("fr;q=0", "en"),
        ("", "en"),
        ("x" * 600, "en"),
        ("../../fr", "en"),
    ],
)
def test_the_browser_decides_until_somebody_chooses(asked, language):
    assert spoken(Client(), **{"Accept-Language": asked}) == language


def test_a_choice_outweighs_the_browser_until_it_is_undone():
    client = Client()
    answer = client.post("/console/language/", {"language": "en", "back": "/login/"}, headers={"Accept-Language": "fr"})
    assert answer["Location"] == "/login/"
    assert spoken(client, **{"Accept-Language": "fr"}) == "en"
    client.post("/console/language/", {"language": "", "back": "/login/"})
    assert spoken(client, **{"Accept-Language": "fr"}) == "fr"


@pytest.mark.parametrize("language", ["de", "xx", "../fr", "fr\n"])
def test_only_an_offered_language_can_be_chosen(language):
    client = Client()
    client.post("/console/language/", {"language": language})
    assert spoken(client) == "en"
    client.cookies["language"] = "de"
    assert spoken(client) == "en"


def test_choosing_a_language_leads_nowhere_else():
    assert Client().post("/console/language/", {"language": "fr", "back": "//evil.example/"})["Location"] == "/console/"


def test_the_operator_decides_which_languages_there_are(settings):
    settings.LANGUAGES = languages.offered(["fr", "en"])
    assert spoken(Client()) == "fr"
    settings.LANGUAGES = languages.offered(["fr"])
    page = Client().get("/login/", headers={"Accept-Language": "en"})
    assert page["Content-Language"] == "fr" and "/console/language/" not in page.content.decode()


@pytest.mark.parametrize("codes", [[], ["de"], ["en", "klingon"], ["EN"]])
def test_a_language_without_a_catalogue_cannot_be_offered(codes):
    with pytest.raises(BadSetting, match="en, fr"):
        languages.offered(codes)


def test_each_page_has_the_switch(account, owner):
    for path in ("/login/", "/errors/no_key", f"/console/{account.public_id}/", "/accounts/second-factor/"):
        page = owner.get(path).content.decode() if path != "/login/" else Client().get(path).content.decode()
        assert re.findall(r'name="language" value="(\w+)"', page) == ["en", "fr"], path
        assert 'lang="fr" translate="no" aria-pressed="false">Français<' in page, path


@pytest.mark.parametrize("path", ["/api/v1/keys", "/api/v1/nothing", "/api/v1/me"])
def test_programs_are_answered_in_english(path):
    client = person("ada")
    client.cookies["language"] = "fr"
    french = client.get(path, headers={"Accept-Language": "fr"})
    plain = person("ada").get(path)
    assert (french.status_code, french.content) == (plain.status_code, plain.content)
    assert "Content-Language" not in french and "Accept-Language" not in french.get("Vary", "")


def test_files_that_every_reader_shares_depend_on_no_language():
    page = Client().get("/login/").content.decode()
    (css,) = re.findall(r'"(/console/brand/\w+\.css)"', page)
    answer = Client().get(css)
    assert "Vary" not in answer and "Content-Language" not in answer


def test_a_cache_keeps_a_page_for_the_language_that_was_chosen_and_asked_for():
    varies = Client().get("/errors/no_key")["Vary"]
    assert {"Accept-Language", "Cookie"} <= {one.strip() for one in varies.split(",")}
