"""check_stack: one broken stack per mistake, each in a real Traefik, and no word about a sound one."""

from __future__ import annotations

from copy import deepcopy

import pytest

from gateway.findings import Mistake
from gateway.inspection import inspect
from gateway.stack import CatalogueModel, Stack
from gateway.traefik import Access, read_gateway
from tests.gateway.conftest import traefik_in
from tests.gateway.routes import route, together

pytestmark = pytest.mark.stack

CATALOGUE = {"sm": CatalogueModel("/sm", True), "lg": CatalogueModel("/v1/large", True)}


@pytest.fixture(scope="module")
def traefik(tmp_path_factory):
    """One process for all that differs in routers and middlewares alone."""
    with traefik_in(tmp_path_factory.mktemp("traefik")) as traefik:
        yield traefik


def sound(traefik, *options):
    """Two models and the gate behind the internal entry point, nothing wrong."""
    to_gate = ("--gate-url", traefik.gate_url, *options)
    gate = {
        "routers": {"gate": {"entryPoints": ["gate"], "rule": "Path(`/auth/`)", "service": "gate"}},
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
    """The codes of what is found, and where."""
    traefik.serve(deepcopy(dynamic))
    gateway = read_gateway(Access(url=traefik.url))
    return {(finding.mistake, finding.where) for finding in inspect(Stack(gateway, catalogue or CATALOGUE))}


def asks(dynamic, model="sm"):
    return dynamic["middlewares"][f"ask-{model}"]["forwardAuth"]


def test_nothing_is_found_where_nothing_is_wrong(traefik):
    assert found(traefik, sound(traefik)) == set()


# Each changes one thing of the sound stack, and says where the mistake then is.


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
        "entryPoints": ["web"], "priority": 999, "service": "other",
        "rule": "Host(`api.localhost`) && PathPrefix(`/sm/docs/`)",
    }  # fmt: skip
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


def pinned_twice(dynamic):
    asks(dynamic)["address"] += "&model=lg"
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


def gate_away(dynamic):
    """A page in the gate's place is not the gate."""
    dynamic["middlewares"]["to-nobody"] = {"replacePath": {"path": "/nobody"}}
    dynamic["routers"]["gate"] = {
        "entryPoints": ["gate"], "rule": "PathPrefix(`/`)", "service": "gate", "middlewares": ["to-nobody"],
    }  # fmt: skip
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
    (Mistake.FORGEABLE_HEADER, forgeable),
    (Mistake.KEY_REACHES_MODEL, key_kept),
    (Mistake.KEY_REACHES_MODEL, key_kept_on_a_public_path),
    (Mistake.NO_PIN, unpinned),
    (Mistake.BAD_PIN, pinned_twice),
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
    (Mistake.GATE_UNROUTED, gate_away),
    (Mistake.OPEN_API, api_outside),
]


@pytest.mark.parametrize(("mistake", "planted"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_mistake_is_found_and_nothing_else(traefik, mistake, planted):
    dynamic = sound(traefik)
    where = planted(dynamic)
    assert found(traefik, dynamic) == {(mistake, where)}
