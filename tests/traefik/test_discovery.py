"""discover_models against a real Traefik, a real database and a real Redis."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditEvent
from quotas.models import Catalogue, ServedModel
from tests.traefik.routes import route, together
from traefik import registration
from traefik.discovery import FoundModel, common_path


@pytest.fixture
def discover(traefik):
    """Run the command; the changes on stdout and the remarks on stderr."""

    def run(*options):
        out, err = StringIO(), StringIO()
        call_command("discover_models", "--traefik-url", traefik.url, *options, stdout=out, stderr=err)
        return out.getvalue().splitlines(), err.getvalue().splitlines()

    return run


def test_a_model_that_a_router_pins_and_the_catalogue_lacks_is_registered_as_new(catalogue, traefik, discover):
    traefik.serve(route("llama"))
    before = Catalogue.objects.get().version
    changes, _ = discover()
    assert changes == ["model llama: new, found at /llama", "1 new."]
    row = ServedModel.objects.get(slug="llama")
    assert (row.path, row.is_new, row.enabled, row.cost) == ("/llama", True, True, 1)
    assert Catalogue.objects.get().version == before + 1
    event = AuditEvent.objects.first()
    assert event is not None
    assert (event.actor, event.after) == ("command discover_models", {"changed": changes[:1]})


def test_looking_twice_changes_nothing(catalogue, traefik, discover):
    traefik.serve(route("llama"))
    discover()
    before = Catalogue.objects.get().version
    assert discover()[0] == ["Nothing new."]
    assert Catalogue.objects.get().version == before


def test_an_unreachable_traefik_is_one_sentence_and_status_2(catalogue):
    with pytest.raises(CommandError, match="cannot be read") as told:
        call_command("discover_models", "--traefik-url", "http://127.0.0.1:1")
    assert told.value.returncode == 2


def test_the_models_of_every_page_are_found(catalogue, traefik, discover):
    names = [f"m{number:03}" for number in range(120)]  # more than one page of Traefik's API
    traefik.serve(together(*(route(name) for name in names)))
    discover()
    assert set(names) <= set(ServedModel.objects.values_list("slug", flat=True))


def test_the_path_of_a_model_is_that_of_its_rules(catalogue, traefik, discover):
    traefik.serve(together(route("small", "--path", "/v1/small"), route("chat", "--path", "/chat/v1")))
    discover()
    assert dict(ServedModel.objects.filter(discovered_at__isnull=False).values_list("slug", "path")) == {
        "small": "/v1/small",
        "chat": "/chat",  # the convention, if all of the router's paths lie below it
    }


def test_a_forwardauth_for_another_service_registers_nothing(catalogue, traefik, discover):
    for address in ("http://127.0.0.1:1/oauth2/auth?model=llama", "http://127.0.0.1:1/auth/"):
        others = route("llama")
        others["middlewares"]["ask-llama"]["forwardAuth"]["address"] = address
        traefik.serve(others, name="others")
        assert discover()[0] == ["Nothing new."]


def test_gate_url_says_which_gate_is_ours(catalogue, traefik, discover):
    theirs = route("theirs", "--gate-url", "http://127.0.0.1:9")
    traefik.serve(together(route("ours"), theirs))
    assert "model ours: new, found at /ours" in discover("--gate-url", "https://127.0.0.1:8900")[0]
    assert not ServedModel.objects.filter(slug="theirs").exists()


def test_gate_url_is_ours_by_http_and_by_https(catalogue, traefik, discover):
    traefik.serve(route("ours", "--gate-url", "http://127.0.0.1:8900"))
    assert "model ours: new, found at /ours" in discover("--gate-url", "https://127.0.0.1:8900")[0]


@pytest.mark.parametrize("pin", ["a%20b", "-x", "", "llama&model=other", "x" * 64])
def test_an_invalid_pin_registers_nothing(catalogue, traefik, discover, pin):
    odd = route("llama")
    odd["middlewares"]["ask-llama"]["forwardAuth"]["address"] = f"http://127.0.0.1:8900/auth/?model={pin}"
    traefik.serve(odd)
    assert discover()[0] == ["Nothing new."]


def test_a_router_that_traefik_refuses_registers_nothing(catalogue, traefik, discover):
    broken = route("llama", "--after", "nowhere")
    traefik.serve(broken)
    assert discover()[0] == ["Nothing new."]


def test_a_model_that_cannot_be_registered_is_reported_with_the_reason(catalogue, traefik, discover):
    nested = route("other", "--path", "/v1/large/x")
    scattered = route("wide")
    scattered["routers"]["wide"]["rule"] = "PathPrefix(`/a/`) || PathPrefix(`/b/`)"
    traefik.serve(together(nested, scattered, route("good")))
    changes, remarks = discover()
    assert changes == ["model good: new, found at /good", "1 new."]
    assert any(line.startswith("model other: not registered, the path /v1/large/x begins") for line in remarks)
    assert any("model wide: not registered, its rules have no common path" in line for line in remarks)


def test_a_model_that_traefik_no_longer_serves_is_reported_and_stays(catalogue, traefik, discover):
    traefik.serve(route("llama"))
    discover()
    traefik.serve({}, name="models")
    assert "model llama: in the catalogue, but no router in Traefik asks the gate about it" in discover()[1]
    assert ServedModel.objects.filter(slug="llama").exists()


def test_a_router_outside_of_the_catalogues_path_is_reported(catalogue, traefik, discover):
    traefik.serve(route("lg", "--path", "/lg"))  # the catalogue has /v1/large
    assert any(
        line.startswith("model lg: a router matches /lg, but the catalogue has /v1/large") for line in discover()[1]
    )
    assert ServedModel.objects.get(slug="lg").path == "/v1/large"


def test_a_password_is_sent_if_traefik_requires_one(catalogue, traefik, tmp_path):
    middleware = {"lock": {"basicAuth": {"users": ["ada:$apr1$4qzWmJm2$JQmwD/J1cHG5uhBIZfvri1"]}}}
    router = {"entryPoints": ["web"], "rule": "Host(`dashboard.localhost`)", "service": "api@internal"}
    traefik.serve(
        {"routers": {"dashboard": {**router, "middlewares": ["lock"]}}, "middlewares": middleware}, name="api2"
    )
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    where = ["--traefik-url", f"http://127.0.0.1:{traefik.web}"]
    with pytest.raises(CommandError, match="does not exist"):
        call_command("discover_models", *where)
    with pytest.raises(CommandError, match="requires a password"):
        call_command("discover_models", *where, "--traefik-host", "dashboard.localhost")
    let_in = ["--traefik-host", "dashboard.localhost", "--traefik-user", "ada", "--traefik-password-file", str(secret)]
    with pytest.raises(CommandError, match="requires a password"):
        call_command("discover_models", *where, *let_in)
    secret.write_text("right\n")
    out = StringIO()
    call_command("discover_models", *where, *let_in, stdout=out, stderr=StringIO())
    assert out.getvalue() == "Nothing new.\n"


@pytest.mark.django_db(transaction=True)
def test_without_redis_the_model_is_registered_with_status_3(catalogue, traefik, redis_away):
    traefik.serve(route("llama"))
    with redis_away(), pytest.raises(CommandError, match="Pending") as told:
        call_command("discover_models", "--traefik-url", traefik.url, stdout=StringIO(), stderr=StringIO())
    assert told.value.returncode == 3
    assert ServedModel.objects.get(slug="llama").is_new


@pytest.mark.parametrize("every", ["0s", "5", "soon", "1.5s"])
def test_an_invalid_interval_is_refused(every):
    with pytest.raises(CommandError, match="is not a duration"):
        call_command("discover_models", "--traefik-url", "http://127.0.0.1:1", "--watch", "--every", every)


def test_a_model_that_somebody_registered_meanwhile_is_left_alone(catalogue):
    assert list(registration._register([FoundModel("sm", "/sm", (), ("sm@docker",))])) == []


def test_a_path_has_as_many_segments_as_the_catalogue_takes():
    deep = "/a/b/c/d/e/f/g/h"
    assert (common_path("m", [deep]), common_path("m", [f"{deep}/i"])) == (deep, "")
