"""The meaning of "new": for plans of every model, the gate and the catalogue file."""

from __future__ import annotations

import json

import pytest

from accounts.facts.snapshot import read_catalogue
from accounts.services.catalogue import change_catalogue
from accounts.services.keys import issue_key
from quotas.catalogue.applying import register
from quotas.catalogue.file import BadCatalogue
from quotas.models import ServedModel
from tests.conftest import ACTOR, CATALOGUE
from tests.gate.conftest import ask  # noqa: F401

NAMED = CATALOGUE.replace('models = ["sm"]', 'models = ["sm", "llama"]')


def found(slug="llama", path="/llama"):
    return change_catalogue(lambda: register(slug, path), actor=ACTOR)[0]


def plans():
    return {name: set(plan["models"]) for name, plan in json.loads(read_catalogue().json)["plans"].items()}


def code(answer):
    return "allowed" if answer.status == 200 else json.loads(answer.body)["type"].rpartition("/")[2]


@pytest.fixture
def call(ask):  # noqa: F811
    """Ask for the new model, as Traefik does."""
    return lambda key: code(ask(key, query="model=llama", x_forwarded_uri="/llama/v1/chat"))


@pytest.mark.django_db(transaction=True)
def test_a_new_model_is_refused_to_plans_of_every_model_and_known_to_the_gate(call, pro_key):
    assert call(pro_key.text) == "unknown_model"
    found()
    assert call(pro_key.text) == "insufficient_scope"


@pytest.mark.django_db(transaction=True)
def test_a_new_model_serves_as_soon_as_a_plan_names_it(call, catalogue, issued, pro_key):
    found()
    catalogue(NAMED + "\n[models.llama]\nauto_include = false\n")
    assert call(issued.text) == "allowed"
    assert call(pro_key.text) == "allowed"  # named by one plan, it is in "*" as well


@pytest.mark.django_db(transaction=True)
def test_a_plan_with_auto_include_serves_new_models_too(call, catalogue, pro_key, issued):
    found()
    catalogue(CATALOGUE.replace('models = ["*"]', 'models = ["*"]\nauto_include = true'))
    assert plans() == {"free": {"sm"}, "pro": {"*"}}
    assert call(pro_key.text) == "allowed"
    assert call(issued.text) == "insufficient_scope"


def test_star_stays_a_star_while_nothing_is_new(catalogue):
    assert plans()["pro"] == {"*"}
    found()
    assert plans()["pro"] == {"sm", "lg"}


def test_a_catalogue_file_that_does_not_name_a_new_model_leaves_it_new(catalogue):
    found()
    assert catalogue() == []
    assert ServedModel.objects.get(slug="llama").is_new


def test_a_catalogue_file_that_names_it_makes_it_one_like_any_other(catalogue):
    found()
    assert catalogue(CATALOGUE + "\n[models.llama]\n") == ["model llama: auto_include False → True"]
    assert not ServedModel.objects.get(slug="llama").is_new
    assert plans()["pro"] == {"*"}


def test_a_file_may_keep_a_model_out_of_every_plan(catalogue):
    text = CATALOGUE + "\n[models.llama]\nauto_include = false\n"
    catalogue(text)
    assert plans()["pro"] == {"sm", "lg"}
    assert catalogue(text) == []
    assert not ServedModel.objects.get(slug="llama").is_new  # it was written, not discovered


def test_a_plan_that_no_longer_names_it_takes_it_out_of_every_plan(catalogue):
    text = NAMED + "\n[models.llama]\nauto_include = false\n"
    catalogue(text)
    assert plans()["pro"] == {"*"}
    catalogue(text.replace('["sm", "llama"]', '["sm"]'))
    assert plans() == {"free": {"sm"}, "pro": {"sm", "lg"}}


def test_auto_include_of_a_plan_that_names_its_models_is_refused(catalogue):
    with pytest.raises(BadCatalogue, match=r'auto_include needs a plan of every model: write models = \["\*"\]'):
        catalogue(CATALOGUE.replace('models = ["sm"]', 'models = ["sm"]\nauto_include = true'))


def test_a_model_below_anothers_path_is_not_registered(catalogue):
    with pytest.raises(BadCatalogue, match="no prefix may do so"):
        found("other", "/v1/large/x")


def test_a_key_of_a_plan_of_every_model_may_have_a_limit_that_only_a_new_model_would_not_fit(catalogue, pro_account):
    from quotas.limits import Limit

    found()
    catalogue(CATALOGUE + "\n[models.llama]\nauto_include = false\ncost = 90\n")
    small = Limit(name="d", scope="key", amount=50, window="day", unit="units")
    assert issue_key(pro_account, name="small", limits=[small], actor=ACTOR).text
