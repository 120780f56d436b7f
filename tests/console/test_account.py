"""The account's page: plans compared, and closing it."""

from __future__ import annotations

import re

import pytest

from accounts.models import Account, AuditEvent, Membership
from accounts.services.catalogue import change_catalogue
from accounts.services.credentials import make_management_key
from quotas.models import Plan, PlanLimit, ServedModel
from tests.conftest import ACTOR
from tests.console.conftest import person
from tests.console.test_keys import told

pytestmark = pytest.mark.django_db(transaction=True)


def page(account, rest: str = "") -> str:
    return f"/console/{account.public_id}/account/{rest}"


def offer(name: str, **more) -> Plan:
    def edit():
        plan, _ = Plan.objects.get_or_create(name=name)
        plan.offered = True
        for field, value in more.items():
            setattr(plan, field, value)
        plan.save()
        yield name

    change_catalogue(edit, actor=ACTOR)
    return Plan.objects.get(name=name)


# Plans compared


def test_only_offered_plans_are_compared(account, owner):
    assert "Compare plans" not in owner.get(page(account)).content.decode()
    offer("pro", title="Professional", max_keys=1234)
    html = owner.get(page(account)).content.decode()
    table = html[html.index('<table class="plans">') : html.index("</table>", html.index('<table class="plans">'))]
    assert re.findall(r'<th scope="col">([^<]+)', table)[1:] == ["Professional"] and "up to 1,234" in table
    assert "Yours" in table


def test_a_comparison_names_no_model_outside_the_plan_and_no_rehearsed_limit(account, owner):
    def edit():
        plan = Plan.objects.create(name="small", offered=True)
        plan.served_models.set(ServedModel.objects.filter(slug="sm"))
        for name, model, shadow in (("own", "sm", False), ("foreign", "lg", False), ("rehearsed", None, True)):
            PlanLimit.objects.create(
                plan=plan,
                name=name,
                scope="key",
                amount={"own": 11, "foreign": 22, "rehearsed": 33}[name],
                window="day",
                model=ServedModel.objects.get(slug=model) if model else None,
                shadow=shadow,
                counted_since=account.plan_since,
            )
        yield "small"

    change_catalogue(edit, actor=ACTOR)
    html = owner.get(page(account)).content.decode()
    assert "11 calls a day, to sm" in html and "22 calls" not in html and "33 calls" not in html


# Closing


def test_an_owner_closes_the_account_by_typing_its_name(account, owner, issued, ask):
    management, _ = make_management_key(account, name="deploy", scopes=["keys:read"], actor=ACTOR)
    assert ask(issued.text).status == 200
    answer = owner.post(page(account, "close/"), {"name": account.name})
    assert answer.status_code == 200 and "is closed" in answer.content.decode()
    assert account.public_id in answer.content.decode()
    assert ask(issued.text).status == 403
    management.refresh_from_db()
    assert management.revoked_at and not Membership.objects.filter(account=account).exists()
    assert AuditEvent.objects.filter(act="account.close", actor="ada").count() == 1
    assert owner.get(page(account)).status_code == 404
    assert "You have no account yet" in owner.get("/console/").content.decode()


@pytest.mark.parametrize("name", ["", "something else"])
def test_nothing_closes_under_another_name(account, owner, name):
    owner.post(page(account, "close/"), {"name": name})
    assert "Nothing was closed" in told(owner, page(account))
    assert Account.objects.get(pk=account.pk).closed_at is None


@pytest.mark.parametrize("role", ["admin", "member", "viewer"])
def test_only_owners_are_offered_it_and_may_do_it(account, role):
    client = person("mia", account, role)
    assert "close/" not in client.get(page(account)).content.decode()
    assert client.post(page(account, "close/"), {"name": account.name}).status_code == 403
    assert Account.objects.get(pk=account.pk).closed_at is None


def test_who_has_another_account_is_led_there(account, pro_account, owner):
    person("ada", pro_account)
    answer = owner.post(page(account, "close/"), {"name": account.name}).content.decode()
    assert "Open another account" in answer
    assert owner.get("/console/")["Location"] == f"/console/{pro_account.public_id}/"
