"""New models as an operator meets them in the admin: marked, filtered, included."""

from __future__ import annotations

import pytest

from accounts.services.catalogue import change_catalogue
from quotas.catalogue.applying import register
from quotas.models import Catalogue, ServedModel
from tests.accounts.admin.test_admin import last_event, list_of, looker, published, said  # noqa: F401
from tests.conftest import ACTOR


@pytest.fixture
def found(catalogue):
    """A model that discover_models found in Traefik."""
    change_catalogue(lambda: register("llama", "/llama"), actor=ACTOR)
    return ServedModel.objects.get(slug="llama")


def test_a_new_model_is_marked_in_the_list_and_the_filter_finds_it_alone(operator, found):
    page = operator.get(list_of(ServedModel)).content.decode()
    assert page.count('badge warn">New</span>') == 1
    filtered = operator.get(list_of(ServedModel), {"new": "1"})
    assert [row.slug for row in filtered.context["cl"].result_list] == ["llama"]


@pytest.mark.django_db(transaction=True)
def test_the_action_includes_a_new_model_in_plans_of_every_model(operator, found):
    assert published(Catalogue.objects.get())["plans"]["pro"]["models"] == ["lg", "sm"]
    response = operator.post(list_of(ServedModel), {"action": "include_in_every", "_selected_action": [found.pk]})
    assert "success: Done: 1 of 1 models included." in said(response, operator)
    assert published(Catalogue.objects.get())["plans"]["pro"]["models"] == ["*"]
    assert last_event().after == {"changed": ["model llama: auto_include False → True"]}
    assert 'badge warn">New</span>' not in operator.get(list_of(ServedModel)).content.decode()


def test_staff_with_view_permission_only_have_no_such_action(looker, found):  # noqa: F811
    assert "include_in_every" not in looker.get(list_of(ServedModel)).content.decode()
    looker.post(list_of(ServedModel), {"action": "include_in_every", "_selected_action": [found.pk]})
    assert ServedModel.objects.get(slug="llama").is_new
