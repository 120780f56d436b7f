"""Links that are secrets: all are listed, and every stack keeps them out of Traefik's access log."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

from runtime.secret_links import PATH, PREFIXES, without_secrets
from tests.servers import ROOT

TOKEN = "gAAAA-secret_123:abc.def"
SECRET_NAMES = re.compile(r"token|secret|signature|uidb64|confirmation|invite", re.IGNORECASE)
WITH_RULES = ("deploy/traefik/stack/secret-links.yml", "deploy/compose/minimal.yml")


def routes(resolver: URLResolver, before: str = "/") -> Iterator[tuple[str, set[str]]]:
    """Every route of the console as written in urls.py, with the names of its parameters."""
    for pattern in resolver.url_patterns:
        text = f"{before}{str(pattern.pattern).removeprefix('^')}"
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, text)
        elif isinstance(pattern, URLPattern):
            named = pattern.pattern.regex.groupindex if not isinstance(pattern.pattern, RoutePattern) else {}
            yield text, {*re.findall(r"<(?:\w+:)?(\w+)>", text), *named}


def with_secrets() -> list[str]:
    found = []
    for route, names in routes(get_resolver()):
        is_djangos_own = route.startswith("/admin/")  # has `key` in reset links only if they are enabled
        if any(SECRET_NAMES.search(name) for name in names) or (
            "key" in names and not route.startswith("/api/") and not is_djangos_own
        ):
            found.append(route)
    return found


def test_every_route_with_a_token_in_its_path_is_known_as_a_secret_link():
    found = with_secrets()
    assert {"/first-operator/<str:token>/", "/invitations/<str:token>/"} <= set(found)
    assert [route for route in found if not route.startswith(PREFIXES)] == []


@pytest.mark.parametrize("file", WITH_RULES)
def test_a_stack_has_a_rule_for_each_secret_link(file):
    assert f"PathRegexp(`{PATH}`)" in (ROOT / file).read_text()


def test_a_router_of_a_secret_link_has_no_access_log():
    labels = yaml.safe_load((ROOT / "deploy/compose/minimal.yml").read_text())["services"]["authsvc"]["labels"]
    (rule,) = [name for name, value in labels.items() if PATH in value]
    assert labels[rule.replace(".rule", ".observability.accessLogs")] == "false"
    text = (ROOT / "deploy/traefik/stack/secret-links.yml").read_text()
    assert text.count("rule:") == text.count("observability: { accessLogs: false }") == 3


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "line",
    [
        "Not Found: {}",
        "Forbidden (CSRF token missing.): {}",
        "Internal Server Error: {}?a=1",
        "GET http://console.localhost{}?next=/admin/",
        'referer "https://console.example.org{}"',
    ],
)
def test_no_log_line_holds_the_secret_of_a_link(prefix, line):
    said = without_secrets(line.format(f"{prefix}{TOKEN}/"))
    assert TOKEN not in said and f"{prefix}…" in said


@pytest.mark.parametrize("quote", [lambda text: text, lambda text: text.replace("/", "%2F")])
def test_a_next_parameter_holds_none_either(quote):
    said = without_secrets(f"Forbidden: /login/?next={quote('/invitations/abc-123/')}&x=1")
    assert "abc-123" not in said and said.endswith("&x=1")


@pytest.mark.parametrize("line", ["Not Found: /invitations/", "Not Found: /first-operator/", "/api/v1/keys/abc/"])
def test_other_lines_stay_as_they_are(line):
    assert without_secrets(line) == line
