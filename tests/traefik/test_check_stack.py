"""check_stack: one broken stack per mistake, each in a real Traefik, and no finding in a sound one."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.stack import wire
from tests.traefik.conftest import traefik_in
from tests.traefik.routes import route, together
from traefik.api import Access, read_configuration
from traefik.findings import Mistake
from traefik.inspection import inspect
from traefik.stack import CatalogueModel, Stack

CATALOGUE = {"sm": CatalogueModel("/sm", True), "lg": CatalogueModel("/v1/large", True)}


@pytest.fixture(scope="module")
def traefik(tmp_path_factory):
    """One process for all stacks that differ only in routers and middlewares."""
    with traefik_in(tmp_path_factory.mktemp("traefik")) as traefik:
        yield traefik


def sound(traefik, *options):
    """Two models and the gate behind the internal entry point, nothing wrong."""
    to_gate = ("--gate-url", traefik.gate_url, *options)
    gate = {
        "routers": {"gate": {"entryPoints": ["gate"], "rule": "Path(`/auth/`)", "service": "gate", "tls": {}}},
        "services": {"gate": server("http://127.0.0.1:1")},
    }
    return together(
        route("sm", "--server-url", "http://127.0.0.1:2", "--public", "/health", *to_gate),
        route("lg", "--server-url", "http://127.0.0.1:3", "--path", "/v1/large", "--streaming", *to_gate),
        gate,
    )


def server(url):
    return {"loadBalancer": {"servers": [{"url": url}]}}


def found(traefik, dynamic, catalogue=None):
    """The codes of the findings, and where they are."""
    traefik.serve(deepcopy(dynamic))
    configuration = read_configuration(Access(url=traefik.url))
    return {(finding.mistake, finding.where) for finding in inspect(Stack(configuration, catalogue or CATALOGUE))}


def asks(dynamic, model="sm"):
    return dynamic["middlewares"][f"ask-{model}"]["forwardAuth"]


def test_a_correct_stack_has_no_findings(traefik):
    assert found(traefik, sound(traefik)) == set()


# Each changes one thing in the sound stack and returns where the mistake is.


def ungated(dynamic):
    dynamic["routers"]["sm"]["middlewares"] = []
    return "router sm@file"


def ungated_by_another_name(dynamic):
    dynamic["routers"]["back-door"] = {"entryPoints": ["web"], "rule": "Host(`x.test`)", "service": "sm"}
    return "router back-door@file"


def ungated_by_another_service(dynamic):
    dynamic["services"]["copy"] = server("http://127.0.0.1:2/")
    dynamic["routers"]["back-door"] = {"entryPoints": ["web"], "rule": "PathPrefix(`/x`)", "service": "copy"}
    return "router back-door@file"


def ungated_through_a_weighted_service(dynamic):
    dynamic["services"]["both"] = {"weighted": {"services": [{"name": "sm", "weight": 1}]}}
    dynamic["routers"]["back-door"] = {"entryPoints": ["web"], "rule": "PathPrefix(`/x`)", "service": "both"}
    return "router back-door@file"


def ungated_path(dynamic):
    dynamic["services"]["other"] = server("http://127.0.0.1:9")
    dynamic["routers"]["docs"] = {
        "entryPoints": ["web"],
        "priority": 999,
        "service": "other",
        "rule": "Host(`api.localhost`) && PathPrefix(`/sm/docs/`)",
    }
    return "router docs@file"


def public_in_whole(dynamic):
    dynamic["routers"]["sm-public"]["rule"] = "Host(`api.localhost`) && PathPrefix(`/sm/`)"
    return "router sm-public@file"


def gate_after_strip(dynamic):
    dynamic["middlewares"]["strip"] = {"stripPrefix": {"prefixes": ["/sm"]}}
    dynamic["routers"]["sm"]["middlewares"].insert(0, "strip")
    return "router sm@file"


def gate_after_strip_in_a_chain(dynamic):
    dynamic["middlewares"]["strip"] = {"stripPrefix": {"prefixes": ["/sm"]}}
    dynamic["middlewares"]["all"] = {"chain": {"middlewares": ["strip", "ask-sm"]}}
    dynamic["routers"]["sm"]["middlewares"] = ["all"]
    return "router sm@file"


def trusted(dynamic):
    asks(dynamic)["trustForwardHeader"] = True
    return "middleware ask-sm@file"


def all_headers(dynamic):
    del asks(dynamic)["authRequestHeaders"]
    return "middleware ask-sm@file"


def more_headers(dynamic):
    asks(dynamic)["authRequestHeaders"].append("Cookie")
    return "middleware ask-sm@file"


def key_not_asked(dynamic):
    asks(dynamic)["authRequestHeaders"].remove("X-Api-Key")
    return "middleware ask-sm@file"


def body_asked(dynamic):
    asks(dynamic)["forwardBody"] = True
    return "middleware ask-sm@file"


def forgeable(dynamic):
    asks(dynamic)["authResponseHeaders"].remove("X-Auth-Plan")
    return "router sm@file"


def key_kept(dynamic):
    asks(dynamic)["authResponseHeaders"].remove("Authorization")
    return "router sm@file"


def key_kept_on_a_public_path(dynamic):
    dynamic["routers"]["sm-public"]["middlewares"] = []
    return "router sm-public@file"


def unpinned(dynamic):
    asks(dynamic)["address"] = asks(dynamic)["address"].partition("?")[0]
    return "middleware ask-sm@file"


def websocket_keys_kept(dynamic):
    asks(dynamic)["authRequestHeaders"] = [*asks(dynamic)["authRequestHeaders"], "sec-websocket-protocol"]
    return "router sm@file"


def pinned_twice(dynamic):
    asks(dynamic)["address"] += "&model=lg"
    return "middleware ask-sm@file"


def pinned_in_capitals(dynamic):
    asks(dynamic)["address"] = asks(dynamic)["address"].replace("model=", "MODEL=")
    return "middleware ask-sm@file"


def pinned_beside_something_else(dynamic):
    asks(dynamic)["address"] = asks(dynamic)["address"].replace("model=", "a=b&model=")
    return "middleware ask-sm@file"


def pinned_to_another(dynamic):
    asks(dynamic, "lg")["address"] = asks(dynamic)["address"]
    return "router lg@file"


def no_slash(dynamic):
    asks(dynamic)["address"] = asks(dynamic)["address"].replace("/auth/", "/auth")
    return "middleware ask-sm@file"


def asked_twice(dynamic):
    dynamic["middlewares"]["again"] = deepcopy(dynamic["middlewares"]["ask-sm"])
    dynamic["routers"]["sm"]["middlewares"].append("again")
    return "router sm@file"


def unbounded(dynamic):
    del asks(dynamic)["maxResponseBodySize"]
    return "middleware ask-sm@file"


def no_boundary(dynamic):
    dynamic["routers"]["sm"]["rule"] = "Host(`api.localhost`) && PathPrefix(`/sm`)"
    return "router sm@file"


def no_boundary_by_regexp(dynamic):
    dynamic["routers"]["sm"]["rule"] = "Host(`api.localhost`) && PathRegexp(`^/sm.*`)"
    return "router sm@file"


def pages(dynamic, **errors):
    dynamic["services"]["pages"] = server("http://127.0.0.1:8")
    dynamic["middlewares"]["pages"] = {"errors": {"service": "pages", "query": "/{status}", **errors}}
    dynamic["routers"]["sm"]["middlewares"].insert(0, "pages")
    return "router sm@file"


def errors_first(dynamic):
    return pages(dynamic, status=["400-599"], errorRequestHeaders=["Accept"])


def errors_with_the_key(dynamic):
    return pages(dynamic, status=["500"])


def buffered(dynamic):
    dynamic["middlewares"]["limit"] = {"buffering": {"maxRequestBodyBytes": 9}}
    dynamic["routers"]["lg"]["middlewares"].append("limit")
    return "router lg@file"


def shadowed(dynamic):
    del dynamic["routers"]["sm-public"]["priority"]
    return "router sm-public@file"


def refused(dynamic):
    dynamic["routers"]["sm"]["middlewares"].append("nowhere")
    return "router sm@file"


def gate_outside(dynamic):
    dynamic["routers"]["door"] = {"entryPoints": ["web"], "rule": "Host(`gate.test`)", "service": "gate"}
    return "router door@file"


def gate_outside_beside_the_console(dynamic):
    dynamic["services"]["console"] = server("http://127.0.0.1:1")
    dynamic["routers"]["console"] = {"entryPoints": ["web"], "rule": "PathPrefix(`/`)", "service": "console"}
    return "router console@file"


def gate_unrouted(dynamic):
    del dynamic["routers"]["gate"]
    return "entry point gate"


def gate_unrouted_by_https(dynamic):
    del dynamic["routers"]["gate"]["tls"]
    return "entry point gate"


def gate_unrouted_by_http(dynamic):
    """One model still has its earlier labels."""
    asks(dynamic)["address"] = asks(dynamic)["address"].replace("https:", "http:")
    return "entry point gate"


def gate_unchecked(dynamic):
    asks(dynamic)["address"] = "https://gate.test/auth/?model=sm"
    return "middleware ask-sm@file"


def gate_untrusted(dynamic):
    del asks(dynamic)["tls"]
    return "middleware ask-sm@file"


def gate_away(dynamic):
    """A page in the gate's place is not the gate."""
    dynamic["middlewares"]["to-nobody"] = {"replacePath": {"path": "/nobody"}}
    dynamic["routers"]["gate"] = {
        "entryPoints": ["gate"],
        "rule": "PathPrefix(`/`)",
        "service": "gate",
        "middlewares": ["to-nobody"],
        "tls": {},
    }
    return "entry point gate"


def api_outside(dynamic):
    dynamic["routers"]["dashboard"] = {"entryPoints": ["web"], "rule": "Host(`d.test`)", "service": "api@internal"}
    return "router dashboard@file"


BROKEN = [
    (Mistake.UNGATED_ROUTE, ungated),
    (Mistake.UNGATED_ROUTE, ungated_by_another_name),
    (Mistake.UNGATED_ROUTE, ungated_by_another_service),
    (Mistake.UNGATED_ROUTE, ungated_through_a_weighted_service),
    (Mistake.UNGATED_ROUTE, ungated_path),
    (Mistake.UNGATED_ROUTE, public_in_whole),
    (Mistake.GATE_AFTER_REWRITE, gate_after_strip),
    (Mistake.GATE_AFTER_REWRITE, gate_after_strip_in_a_chain),
    (Mistake.TRUSTED_FORWARD_HEADER, trusted),
    (Mistake.ALL_HEADERS_ASKED, all_headers),
    (Mistake.MORE_HEADERS_ASKED, more_headers),
    (Mistake.KEY_NOT_ASKED, key_not_asked),
    (Mistake.BODY_ASKED, body_asked),
    (Mistake.FORGEABLE_HEADER, forgeable),
    (Mistake.KEY_REACHES_MODEL, key_kept),
    (Mistake.KEY_REACHES_MODEL, key_kept_on_a_public_path),
    (Mistake.KEY_REACHES_MODEL, websocket_keys_kept),
    (Mistake.NO_PIN, unpinned),
    (Mistake.BAD_PIN, pinned_twice),
    (Mistake.BAD_PIN, pinned_in_capitals),
    (Mistake.BAD_PIN, pinned_beside_something_else),
    (Mistake.PIN_ELSEWHERE, pinned_to_another),
    (Mistake.NO_TRAILING_SLASH, no_slash),
    (Mistake.ASKED_TWICE, asked_twice),
    (Mistake.UNBOUNDED_ANSWER, unbounded),
    (Mistake.NO_SLASH_BOUNDARY, no_boundary),
    (Mistake.NO_SLASH_BOUNDARY, no_boundary_by_regexp),
    (Mistake.ERRORS_BEFORE_GATE, errors_first),
    (Mistake.KEY_REACHES_ERRORS, errors_with_the_key),
    (Mistake.BUFFERED_STREAM, buffered),
    (Mistake.PUBLIC_ROUTE_SHADOWED, shadowed),
    (Mistake.ROUTER_IN_ERROR, refused),
    (Mistake.GATE_PUBLIC, gate_outside),
    (Mistake.GATE_PUBLIC, gate_outside_beside_the_console),
    (Mistake.GATE_UNROUTED, gate_unrouted),
    (Mistake.GATE_UNROUTED, gate_unrouted_by_https),
    (Mistake.GATE_UNROUTED, gate_unrouted_by_http),
    (Mistake.GATE_UNCHECKED, gate_unchecked),
    (Mistake.GATE_UNTRUSTED, gate_untrusted),
    (Mistake.GATE_UNROUTED, gate_away),
    (Mistake.OPEN_API, api_outside),
]


@pytest.mark.parametrize(("mistake", "planted"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_mistake_is_found_and_nothing_else(traefik, mistake, planted):
    dynamic = sound(traefik)
    where = planted(dynamic)
    assert found(traefik, dynamic) == {(mistake, where)}


# What a router may do on purpose, without a finding


def redirected_to_https(dynamic):
    dynamic["middlewares"]["https"] = {"redirectScheme": {"scheme": "https"}}
    dynamic["routers"]["sm-http"] = {**dynamic["routers"]["sm"], "middlewares": ["https"], "priority": 1}


def of_another_host(dynamic):
    """A page about the model on the site is not the model."""
    dynamic["services"]["site"] = server("http://127.0.0.1:9")
    dynamic["routers"]["page"] = {"entryPoints": ["web"], "rule": "Host(`www.test`) && Path(`/sm`)", "service": "site"}


def asked_by_http(dynamic):
    """Labels with http: the gate has a router for either scheme."""
    dynamic["routers"]["gate-by-http"] = {
        key: dynamic["routers"]["gate"][key] for key in ("entryPoints", "rule", "service")
    }
    del asks(dynamic)["tls"]
    asks(dynamic)["address"] = asks(dynamic)["address"].replace("https:", "http:")


def asked_by_https_on_this_machine(dynamic):
    """A gate's certificate, unlike Traefik's, may be signed by an authority this machine trusts."""
    del asks(dynamic)["tls"]
    asks(dynamic)["address"] = "https://localhost:1/auth/?model=sm"


def taken_by_nobody_else(dynamic):
    dynamic["services"]["site"] = server("http://127.0.0.1:9")
    dynamic["routers"]["rest"] = {"entryPoints": ["web"], "rule": "PathPrefix(`/`)", "priority": 1, "service": "site"}


def never_reached(dynamic):
    rule = "Host(`api.localhost`) && PathPrefix(`/sm/`)"
    dynamic["routers"]["old"] = {"entryPoints": ["web"], "rule": rule, "priority": 1, "service": "sm"}


def asked_elsewhere_as_well(dynamic):
    """A ForwardAuth for another service does not concern the gate."""
    dynamic["middlewares"]["sign-in"] = {"forwardAuth": {"address": "http://127.0.0.1:7/oauth2/auth"}}
    dynamic["services"]["site"] = server("http://127.0.0.1:9")
    dynamic["routers"]["wiki"] = {
        "entryPoints": ["web"],
        "rule": "Host(`wiki.test`)",
        "service": "site",
        "middlewares": ["sign-in"],
    }


def key_removed_by_headers(dynamic):
    asks(dynamic)["authResponseHeaders"].remove("Authorization")
    dynamic["middlewares"]["own-key"] = {"headers": {"customRequestHeaders": {"Authorization": "Bearer of-the-model"}}}
    dynamic["routers"]["sm"]["middlewares"].append("own-key")


def relayed_by_a_pattern(dynamic):
    asks(dynamic)["authResponseHeaders"] = ["Authorization", "X-Api-Key"]
    asks(dynamic)["authResponseHeadersRegex"] = "^(X-Auth-|RateLimit)"


def limited_without_a_stream(dynamic):
    dynamic["middlewares"]["limit"] = {"buffering": {"maxRequestBodyBytes": 9}}
    dynamic["routers"]["sm"]["middlewares"].append("limit")


def pages_after_the_gate(dynamic):
    pages(dynamic, status=["502", "504"], errorRequestHeaders=["Accept"])
    dynamic["routers"]["sm"]["middlewares"].reverse()


def pages_for_a_dead_gate(dynamic):
    """Before the gate, for the 500 that Traefik says for it."""
    pages(dynamic, status=["500"], errorRequestHeaders=["Accept"])


def boundary_by_regexp(dynamic):
    dynamic["routers"]["sm"]["rule"] = "Host(`api.localhost`) && PathRegexp(`^/sm(?:/|$)`)"


def several_hosts(dynamic):
    dynamic["routers"]["sm"]["rule"] = "(Host(`a.test`) || Host(`b.test`)) && (Path(`/sm`) || PathPrefix(`/sm/`))"


def console_without_the_gates_path(dynamic):
    dynamic["routers"]["console"] = {
        "entryPoints": ["web"],
        "rule": "Host(`console.test`) && !PathPrefix(`/auth`)",
        "service": "gate",
    }


def api_behind_a_password(dynamic):
    dynamic["middlewares"]["lock"] = {"basicAuth": {"users": ["ada:$apr1$4qzWmJm2$JQmwD/J1cHG5uhBIZfvri1"]}}
    dynamic["routers"]["dashboard"] = {
        "entryPoints": ["web"],
        "rule": "Host(`d.test`)",
        "service": "api@internal",
        "middlewares": ["lock"],
    }


FINE = [
    redirected_to_https,
    of_another_host,
    asked_by_http,
    asked_by_https_on_this_machine,
    taken_by_nobody_else,
    never_reached,
    asked_elsewhere_as_well,
    key_removed_by_headers,
    relayed_by_a_pattern,
    limited_without_a_stream,
    pages_after_the_gate,
    pages_for_a_dead_gate,
    boundary_by_regexp,
    several_hosts,
    console_without_the_gates_path,
    api_behind_a_password,
]


@pytest.mark.parametrize("change", FINE)
def test_what_may_be_intended_is_not_a_finding(traefik, change):
    dynamic = sound(traefik)
    change(dynamic)
    assert found(traefik, dynamic) == set()


# Networks: addresses as Docker gives them


def with_containers(traefik, provider, **addresses):
    """The sound stack, with each model's service as this provider would report it."""
    traefik.serve(sound(traefik))
    configuration = read_configuration(Access(url=traefik.url))
    routers = tuple(
        replace(router, service=f"{router.service.partition('@')[0]}@{provider}")
        if router.service.partition("@")[0] in addresses
        else router
        for router in configuration.routers
    )
    services = {
        f"{model}@{provider}": replace(
            configuration.services[f"{model}@file"], name=f"{model}@{provider}", servers=(url,)
        )
        for model, url in addresses.items()
    }
    return replace(configuration, routers=routers, services={**configuration.services, **services})


def places(configuration):
    return {(finding.mistake, finding.where) for finding in inspect(Stack(configuration, CATALOGUE))}


@pytest.mark.parametrize("provider", ["docker", "swarm"])
def test_models_in_one_network_are_found(traefik, provider):
    configuration = with_containers(traefik, provider, sm="http://172.20.0.5:8000", lg="http://172.20.0.9:8000")
    assert places(configuration) == {(Mistake.SHARED_NETWORK, "model lg")}


@pytest.mark.parametrize(
    ("provider", "sm", "lg"),
    [
        ("docker", "http://172.20.0.5:8000", "http://172.21.0.5:8000"),
        ("swarm", "http://10.0.2.5:8000", "http://10.0.3.5:8000"),
        ("docker", "http://sm:8000", "http://lg:8000"),
        ("docker", "http://[fd00::1]:8000", "http://[fd00::2]:8000"),
        ("file", "http://192.168.1.5:8000", "http://192.168.1.6:8000"),  # possibly machines
    ],
)
def test_models_that_are_or_may_be_apart_are_not(traefik, provider, sm, lg):
    assert places(with_containers(traefik, provider, sm=sm, lg=lg)) == set()


# Entry points, which need a separate Traefik


def encoded_slash(static):
    static["entryPoints"]["web"]["http"]["encodedCharacters"]["allowEncodedSlash"] = True


def encoded_by_default(static):
    del static["entryPoints"]["web"]["http"]["encodedCharacters"]


def aliases_by_default(static):
    del static["entryPoints"]["web"]["http"]["aliasHeadersStrategy"]


def unsanitized(static):
    static["entryPoints"]["web"]["http"]["sanitizePath"] = False


def gate_point_open(static):
    point = static["entryPoints"]["gate"]
    point["address"] = ":" + point["address"].rpartition(":")[2]


def gate_point_insecure(static):
    static["entryPoints"]["gate"]["forwardedHeaders"]["insecure"] = True


def gate_point_of_a_network(static):
    static["entryPoints"]["gate"]["forwardedHeaders"]["trustedIPs"].append("10.0.0.0/8")


def gate_point_of_nobody(static):
    del static["entryPoints"]["gate"]["forwardedHeaders"]


BROKEN_POINTS = [
    (Mistake.ENCODED_CHARACTERS, "web", encoded_slash),
    (Mistake.ENCODED_CHARACTERS, "web", encoded_by_default),
    (Mistake.ALIAS_HEADERS, "web", aliases_by_default),
    (Mistake.UNSANITIZED_PATH, "web", unsanitized),
    (Mistake.GATE_ENTRY_POINT_OPEN, "gate", gate_point_open),
    (Mistake.GATE_ENTRY_POINT_TRUST, "gate", gate_point_insecure),
    (Mistake.GATE_ENTRY_POINT_TRUST, "gate", gate_point_of_a_network),
    (Mistake.GATE_ENTRY_POINT_TRUST, "gate", gate_point_of_nobody),
]


@pytest.mark.parametrize(
    ("mistake", "point", "change"), BROKEN_POINTS, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_mistake_of_an_entry_point_is_found_and_nothing_else(start_traefik, mistake, point, change):
    traefik = start_traefik(change)
    assert found(traefik, sound(traefik)) == {(mistake, f"entry point {point}")}


def test_middlewares_of_an_entry_point_come_before_those_of_its_routers(start_traefik):
    def strip_first(static):
        static["entryPoints"]["web"]["http"]["middlewares"] = ["strip@file"]

    traefik = start_traefik(strip_first)
    dynamic = sound(traefik)
    dynamic["middlewares"]["strip"] = {"stripPrefix": {"prefixes": ["/sm"]}}
    assert {mistake for mistake, _ in found(traefik, dynamic)} == {Mistake.GATE_AFTER_REWRITE}


@pytest.mark.parametrize(("change", "status"), [(lambda static: None, 400), (encoded_by_default, 502)])
def test_an_entry_point_without_encoded_characters_allows_them(start_traefik, change, status):
    """The basis of the finding: the API omits the section, and the request reaches a router's service."""
    traefik = start_traefik(change)
    rest = {"entryPoints": ["web"], "rule": "PathPrefix(`/`)", "service": "rest"}
    traefik.serve({"routers": {"rest": rest}, "services": {"rest": server("http://127.0.0.1:1")}})
    assert wire.ask(traefik.web, "/sm%2Fx").status == status


# Beyond routers and entry points


@pytest.mark.parametrize(
    ("catalogue", "expected"),
    [
        (CATALOGUE | {"xl": CatalogueModel("/xl", True)}, {(Mistake.MODEL_WITHOUT_ROUTE, "model xl")}),
        (CATALOGUE | {"xl": CatalogueModel("/xl", False)}, set()),
        ({"sm": CATALOGUE["sm"]}, {(Mistake.ROUTE_WITHOUT_MODEL, "router lg@file")}),
        (
            CATALOGUE | {"lg": CatalogueModel("/v1/large", False)},
            {(Mistake.ROUTE_WITHOUT_MODEL, "router lg@file")},
        ),
        (CATALOGUE | {"sm": CatalogueModel("/small", True)}, {(Mistake.PIN_ELSEWHERE, "router sm@file")}),
    ],
)
def test_catalogue_and_routers_are_compared(traefik, catalogue, expected):
    assert found(traefik, sound(traefik), catalogue) == expected


@pytest.mark.parametrize(
    ("version", "mistake"),
    [
        ("3.7.12", Mistake.OLD_TRAEFIK),
        ("v2.11.60", Mistake.OLD_TRAEFIK),
        ("3.6.20", Mistake.OLD_TRAEFIK),
        ("3.7", Mistake.OLD_TRAEFIK),
        ("3.7.13", None),
        ("3.8.0", None),
        ("v4.0.0-rc1", None),
        ("dev", Mistake.UNKNOWN_TRAEFIK),
        ("", Mistake.UNKNOWN_TRAEFIK),
    ],
)
def test_the_version_is_compared_with_the_one_that_fixes_known_vulnerabilities(traefik, version, mistake):
    traefik.serve(sound(traefik))
    configuration = replace(
        read_configuration(Access(url=traefik.url)), version=version
    )  # we cannot change the program's version
    assert [finding.mistake for finding in inspect(Stack(configuration, CATALOGUE))] == ([mistake] if mistake else [])


def test_every_mistake_that_is_known_was_planted():
    planted = {mistake for mistake, _ in BROKEN} | {mistake for mistake, _, _ in BROKEN_POINTS}
    by_other_tests = {
        Mistake.MODEL_WITHOUT_ROUTE,
        Mistake.ROUTE_WITHOUT_MODEL,
        Mistake.OLD_TRAEFIK,
        Mistake.UNKNOWN_TRAEFIK,
        Mistake.SHARED_NETWORK,
    }
    assert planted | by_other_tests == set(Mistake)


def test_a_gate_that_is_asked_directly_needs_no_internal_entry_point(traefik):
    dynamic = together(route("sm", "--gate-url", "http://127.0.0.1:4"))
    assert found(traefik, dynamic, {"sm": CATALOGUE["sm"]}) == set()
    dynamic["services"]["gate"] = server("http://127.0.0.1:4")
    dynamic["routers"]["door"] = {"entryPoints": ["web"], "rule": "PathPrefix(`/auth/`)", "service": "gate"}
    assert found(traefik, dynamic, {"sm": CATALOGUE["sm"]}) == {(Mistake.GATE_PUBLIC, "router door@file")}


# The command


@pytest.fixture
def check(catalogue, traefik):
    """Run it; its exit status and output. The catalogue has sm and lg."""

    def run(*options):
        out = StringIO()
        try:
            call_command("check_stack", "--traefik-url", traefik.url, *options, stdout=out)
        except SystemExit as end:
            return end.code, out.getvalue()
        return 0, out.getvalue()

    return run


def test_a_sound_stack_is_status_0(traefik, check):
    traefik.serve(sound(traefik))
    assert check() == (0, "Nothing found.\n")


def test_a_finding_is_status_1_and_says_what_to_write(traefik, check):
    dynamic = sound(traefik)
    trusted(dynamic)
    traefik.serve(dynamic)
    status, said = check()
    assert status == 1
    assert said.splitlines() == [
        "danger  trusted-forward-header  middleware ask-sm@file",
        "    A client's own X-Forwarded-Uri and -Method may reach the gate, which then judges a different request.",
        "    Write:",
        "        trustForwardHeader: false",
        "",
        "1 finding; docs/check-stack.md explains each.",
    ]


def test_json_output_can_be_parsed(traefik, check):
    dynamic = sound(traefik)
    trusted(dynamic)
    traefik.serve(dynamic)
    status, said = check("--json")
    told = json.loads(said)
    assert (status, told["traefik"].split(".")[0]) == (1, "3")
    assert [(one["code"], one["severity"], one["where"], one["instead"]) for one in told["findings"]] == [
        ("trusted-forward-header", "danger", "middleware ask-sm@file", ["trustForwardHeader: false"])
    ]


def test_an_unreachable_traefik_is_status_2(catalogue):
    with pytest.raises(CommandError, match="cannot be read") as told:
        call_command("check_stack", "--traefik-url", "http://127.0.0.1:1")
    assert told.value.returncode == 2


def test_an_unavailable_database_is_status_2(traefik, check, monkeypatch):
    from django.db import OperationalError
    from django.db.backends.utils import CursorWrapper

    def fail(*_, **__):
        raise OperationalError("the database is stopped")

    with monkeypatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", fail)
        with pytest.raises(CommandError, match="The catalogue cannot be read") as told:
            check()
    assert told.value.returncode == 2
