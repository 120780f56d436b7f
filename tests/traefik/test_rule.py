"""Which paths a router's rule may match. The last test asks Traefik itself."""

from __future__ import annotations

import pytest

from tests.stack import wire
from traefik.rule import read_rule


@pytest.mark.parametrize(
    ("rule", "path", "may"),
    [
        ("Path(`/m`)", "/m", True),
        ("Path(`/m`)", "/m/", False),
        ("PathPrefix(`/m`)", "/m2", True),
        ("PathPrefix(`/m/`)", "/m2", False),
        ("PathPrefix(`/m/`)", "/m", False),
        ('Path("/m") || PathPrefix("/m/")', "/m/x", True),
        ("Host(`a`) && (Path(`/m`) || PathPrefix(`/m/`))", "/m/x", True),
        ("Host(`a`) && (Path(`/m`) || PathPrefix(`/m/`))", "/n", False),
        ("Host(`a`)", "/anything", True),
        ("!PathPrefix(`/m`)", "/m/x", False),
        ("!PathPrefix(`/m`)", "/n", True),
        ("!Host(`a`)", "/n", True),
        ("!(Host(`a`) || PathPrefix(`/m`))", "/m/x", False),
        ("Host(`a`) && !PathPrefix(`/auth`)", "/auth/", False),
        ("PathRegexp(`^/m(?:/|$)`)", "/m", True),
        ("PathRegexp(`^/m(?:/|$)`)", "/m2", False),
        ("PathRegexp(`/m`)", "/a/m/b", True),
        ("PathRegexp(`[`)", "/n", True),  # unreadable for us, so it may match anything
        ("PATHPREFIX(`/m/`)", "/m/x", True),
        ("Path(`/a`, `/b`)", "/b", True),
        ("Host(`a`) && Method(`GET`) && HeaderRegexp(`X`, `y.*`) && Path(`/m`)", "/m", True),
        ("Path(`/m`) && Path(`/n`)", "/m", False),
        ("", "/n", True),
        ("Path(`/m`", "/n", True),
        ("Path(`/m`) Path(`/n`)", "/x", True),
        ("Path(`/m`) &&", "/x", True),
        ("(" * 200 + "Path(`/m`)" + ")" * 200, "/x", True),
        ("Path(/m)", "/x", True),
    ],
)
def test_which_paths_a_rule_may_match(rule, path, may):
    assert read_rule(rule).may_match(path) is may


def test_the_paths_that_a_rule_names_are_those_that_have_to_match():
    rule = read_rule("Host(`a`) && (Path(`/m`) || PathPrefix(`/m/`) || Path(`/n`)) && !PathPrefix(`/m/x/`)")
    assert rule.prefixes() == ("/m", "/n")


def test_the_hosts_of_a_rule_are_in_lower_case_and_without_those_that_must_not_be():
    assert read_rule("(Host(`A.test`) || Host(`b.test`)) && !Host(`c.test`)").hosts() == {"a.test", "b.test"}


RULES = [
    "Path(`/m`) || PathPrefix(`/m/`)",
    "PathPrefix(`/m`)",
    "PathRegexp(`^/m(?:/|$)`)",
    "PathPrefix(`/`) && !PathPrefix(`/m/x`)",
    'Host("models.test") && (PathPrefix("/m/x") || Path("/n"))',
    "!(Path(`/m`) || Path(`/n`))",
]
PATHS = ["/", "/m", "/m/", "/m/x", "/m/xy", "/m2", "/m-x", "/n", "/n/x", "/x"]


def test_traefik_matches_only_what_we_say_it_may(traefik):
    """The same paths through a real Traefik: a router that matches answers 502, because nothing listens behind it."""
    for number, rule in enumerate(RULES):
        traefik.serve(
            {
                "routers": {f"r{number}": {"entryPoints": ["web"], "rule": rule, "service": "none"}},
                "services": {"none": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:1"}]}}},
            }
        )
        matched = {path: wire.ask(traefik.web, path).status == 502 for path in PATHS}
        assert matched == {path: read_rule(rule).may_match(path) for path in PATHS}, rule
