"""discover_models against a real Traefik, a real database and a real Redis."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditEvent
from quotas.models import Catalogue, ServedModel
from tests.gateway.routes import route, together


@pytest.fixture
def discover(traefik):
    """Run the command; its changes, and on stderr its remarks."""

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


def test_traefik_away_is_one_sentence_and_status_2(catalogue):
    with pytest.raises(CommandError, match="cannot be read") as told:
        call_command("discover_models", "--traefik-url", "http://127.0.0.1:1")
    assert told.value.returncode == 2


def test_the_models_of_every_page_are_found(catalogue, traefik, discover):
    names = [f"m{number:03}" for number in range(120)]  # more than one page of Traefik's API
    traefik.serve(together(*(route(name) for name in names)))
    discover()
    assert set(names) <= set(ServedModel.objects.values_list("slug", flat=True))
