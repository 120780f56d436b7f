"""Hosts and URLs as browsers write them, and one sentence for anything else."""

from __future__ import annotations

import pytest
from django.test import Client

from runtime.env import BadSetting
from runtime.hosts import host_names, web_address


@pytest.fixture
def say(monkeypatch):
    monkeypatch.delenv("X_FILE", raising=False)
    return lambda value: monkeypatch.setenv("X", value)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://console.example.org", "https://console.example.org"),
        ("HTTPS://Console.Example.ORG/", "https://console.example.org"),
        ("https://console.example.org.", "https://console.example.org"),
        ("https://console.example.org:443/", "https://console.example.org"),
        ("http://console.localhost:80", "http://console.localhost"),
        ("http://console.localhost:443", "http://console.localhost:443"),
        ("http://console.localhost:08081", "http://console.localhost:8081"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://BÜCHER.example:8443", "https://xn--bcher-kva.example:8443"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("https://例え.テスト", "https://xn--r8jz45g.xn--zckzah"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("http://[0:0:0:0:0:0:0:1]:8081", "http://[::1]:8081"),
        ("http://[::1]:80/", "http://[::1]"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
    ],
)
def test_an_address_becomes_the_origin_that_a_browser_sends(say, written, read):
    say(written)
    assert web_address("X", "") == read


@pytest.mark.parametrize(
    "written",
    [
        "console.example.org",
        "ftp://example.org",
        "https://",
        "https://:8443",
        "https://[::1",
        "https://[fe80::1%25eth0]",
        "https://host:port",
        "https://host:0",
        "https://host:65536",
        "https://host:",
        "https://user@host",
        "https://user:hunter2@host",
        "https://host/below",
        "https://host/?a=1",
        "https://host?",
        "https://host#top",
        "https://a b",
        "https://host\\below",
        "https://-host",
        "https://ho..st",
        "https://127.0.0.256",
        "https://1.2.3",
        "https://" + "a" * 64,
        "https://" + "a." * 200 + "org",
        "https://☃️-",
        '"https://host"',
        "javascript:alert(1)",
        "https://host,https://other",
        "https://*.example.org",
    ],
)
def test_anything_but_an_origin_is_one_sentence_that_names_the_variable(say, written):
    say(written)
    with pytest.raises(BadSetting) as told:
        web_address("X", "")
    words = str(told.value)
    assert words.startswith("X is not a usable URL: write https://HOST or http://HOST:PORT")
    assert words.endswith(".") and "hunter2" not in words


@pytest.mark.parametrize(
    ("written", "rest", "read"),
    [
        ("https://Host:443/Below/", "path", "https://host/Below"),
        ("https://host/errors/", "anything", "https://host/errors"),
        ("https://Host?code=", "anything", "https://host?code="),
        ("https://Host/docs/Errors#", "anything", "https://host/docs/Errors#"),
    ],
)
def test_what_may_follow_a_host_is_kept(say, written, rest, read):
    say(written)
    assert web_address("X", "", rest=rest) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Console.Example.org, .Example.ORG", ["console.example.org", ".example.org"]),
        ("bücher.example,[0::1],127.0.0.1,*", ["xn--bcher-kva.example", "[::1]", "127.0.0.1", "*"]),
        ("console.example.org.", ["console.example.org"]),
        ("auth_svc", ["auth_svc"]),
    ],
)
def test_host_names_are_read_as_browsers_send_them(say, written, read):
    say(written)
    assert host_names("X", "") == read


@pytest.mark.parametrize(
    "word", ["https://host", "host:8000", "host/", "a b", "*.example.org", "''", ".", "..", 'ho"st']
)
def test_anything_but_a_host_name_is_reported(say, word):
    say(f"localhost,{word},other")
    with pytest.raises(BadSetting, match=r"^X: .* is not a host name: write names such as console\.example\.org"):
        host_names("X", "")


@pytest.mark.django_db
@pytest.mark.parametrize("written", ["HTTPS://Bücher.Example:443/", "https://xn--BCHER-kva.example."])
def test_a_form_is_taken_from_the_address_however_it_was_written(say, settings, written, redis_db):
    say(written)
    console = web_address("X", "")
    settings.CSRF_TRUSTED_ORIGINS = [console]
    browser = Client(enforce_csrf_checks=True, SERVER_NAME="xn--bcher-kva.example")
    browser.get("/login/")
    form = {"username": "nobody", "password": "x", "csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    sent = browser.post("/login/", form, headers={"Origin": "https://xn--bcher-kva.example"})
    assert sent.status_code == 200  # the form again, with its error; CSRF would give 403
