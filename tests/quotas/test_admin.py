"""Plans in words, and new models into a plan by one button."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEvent
from quotas.models import Plan, ServedModel
from tests.console.operators.conftest import staff  # noqa: F401  a fixture
from tests.console.operators.test_front import words

pytestmark = pytest.mark.django_db


@pytest.fixture
def new_model(catalogue) -> ServedModel:
    return ServedModel.objects.create(slug="tiny", path="/tiny", auto_include=False, discovered_at=timezone.now())


def test_a_plans_limits_are_in_plain_words(operator, catalogue):
    plan = Plan.objects.get(name="free")
    page = words(operator.get(reverse("admin:quotas_plan_change", args=[plan.pk])))
    assert "60 calls a minute, bursts of 10, for each key" in page
    assert "1,000 units a month, shared by all keys" in words(operator.get(reverse("admin:quotas_plan_changelist")))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({}, "5 calls a minute, for each key"),
        ({"burst": "2", "scope": "account"}, "5 calls a minute, bursts of 2, shared by all keys"),
        ({"amount": "1", "window": "month", "unit": "units"}, "1 unit a month, for each key"),
        ({"amount": ""}, ""),
        ({"amount": "-1"}, ""),
        ({"window": "year"}, ""),
        ({"window": "day", "burst": "3"}, ""),
        ({"model": "999999"}, ""),
    ],
)
def test_a_limit_is_put_in_words_while_it_is_typed(operator, catalogue, typed, said):
    asked = {"amount": "5", "window": "minute", "unit": "requests", "scope": "key", **typed}
    answer = operator.get(reverse("admin:quotas_plan_words"), asked)
    assert (answer.status_code, answer.content.decode()) == (200, said)


def test_words_are_for_those_who_may_see_plans(staff, catalogue):  # noqa: F811
    assert staff("view_account").get(reverse("admin:quotas_plan_words")).status_code == 403
    assert staff("view_plan").get(reverse("admin:quotas_plan_words")).status_code == 200


def test_a_new_model_is_added_to_a_plan_by_one_button(operator, new_model):
    page = operator.get("/admin/")
    address = reverse("admin:quotas_servedmodel_include", args=[new_model.pk])
    assert f'action="{address}"' in page.content.decode() and "<option>free</option>" in page.content.decode()
    assert "tiny is in free." in words(operator.post(address, {"plan": "free"}, follow=True))
    assert set(Plan.objects.get(name="free").included().values_list("slug", flat=True)) == {"sm", "tiny"}
    assert AuditEvent.objects.filter(act="catalogue.change").count() == 2
    assert "New models" not in words(operator.get("/admin/"))


def test_a_new_model_is_added_to_every_plan_of_every_model(operator, new_model):
    operator.post(reverse("admin:quotas_servedmodel_include", args=[new_model.pk]), {"plan": ""})
    assert new_model in Plan.objects.get(name="pro").included()


def test_a_model_whose_calls_never_fit_is_refused(operator, new_model):
    new_model.cost = 5000
    new_model.save()
    address = reverse("admin:quotas_servedmodel_include", args=[new_model.pk])
    assert "never fits into the limit month" in words(operator.post(address, {"plan": "free"}, follow=True))
    assert not Plan.objects.get(name="free").served_models.filter(slug="tiny").exists()


def test_only_who_may_change_models_may_add_one(staff, operator, new_model):  # noqa: F811
    address = reverse("admin:quotas_servedmodel_include", args=[new_model.pk])
    assert staff("view_servedmodel").post(address, {"plan": "free"}).status_code == 403
    assert operator.get(address).status_code == 403
    assert operator.post(address, {"plan": "none"}).status_code == 404
