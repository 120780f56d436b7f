"""What axe-core, the browser and the policy have to say about every page of the admin: nothing, in both schemes, on a phone.

A hundred pages take minutes, so each scheme is looked at in one width, and each width in one scheme.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.urls import reverse
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.models import (
    Account,
    AccountOverride,
    ApiKey,
    Invitation,
    KeptAnswer,
    OutboxRow,
    SeenStore,
    User,
)
from accounts.services.credentials import make_management_key, make_operator_token
from accounts.services.keys import change_key, rotate_key
from quotas.limits import Limit
from quotas.models import ServedModel
from tests.conftest import ACTOR
from tests.console.operators.test_browser import enter, olga  # noqa: F401
from tests.console.test_accessibility import VIEWS, look
from tests.console.test_browser import acme, busy, chromium, console, open_page, pytestmark  # noqa: F401


@pytest.fixture
def everything(olga, busy: Account) -> Account:  # noqa: F811
    """A row of every table, with inlines where there are any."""
    key = ApiKey.objects.get(name="nightly")
    change_key(key, limits=[Limit(name="day", scope="key", amount=9, window="day")], actor=ACTOR)
    rotate_key(key, grace=timedelta(hours=1), actor=ACTOR)
    models_base(AccountOverride).create(account=busy, limit_name="month", amount=5)
    make_management_key(busy, name="ci", scopes=["keys:read"], actor=ACTOR)
    make_operator_token(name="billing", scopes=["accounts:write"], actor=ACTOR)
    Invitation.objects.create(account=busy, public_id="0" * 16, email="a@example.org", expires_at=timezone.now())
    KeptAnswer.objects.create(caller="session:1", key="k", fingerprint="f", status=201, body={})
    OutboxRow.objects.create(part="account", subject=busy.public_id, version=1)
    SeenStore.objects.create(pk=1, identity="run-id")
    Group.objects.create(name="support")
    ServedModel.objects.create(slug="new-model", path="/new-model", discovered_at=timezone.now())
    return busy


def addresses(account: Account) -> Iterator[str]:
    """Every page that the admin has."""
    yield from (reverse(f"admin:{name}") for name in ("index", "usage", "refused", "which_key", "explain", "tables"))
    yield reverse("admin:password_change")
    for model, page in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield f"{reverse(f'{name}_changelist')}?q=nothing-is-called-so"
        yield reverse(f"{name}_add")
        row = model._default_manager.first()
        assert row is not None, f"no {name}"
        yield from (reverse(f"{name}_{one}", args=[row.pk]) for one in ("change", "history", "delete"))
        yield from (reverse(f"{name}_{act.name}", args=[row.pk]) for act in getattr(page, "acts", ()))
    yield reverse("admin:accounts_account_plan", args=[account.pk])
    yield reverse("admin:auth_user_password_change", args=[User.objects.get(username="olga").pk])
    yield f"{reverse('admin:accounts_auditevent_changelist')}?at__year={timezone.now().year}"
    yield reverse("admin:accounts_apikey_change", args=[ApiKey.objects.get(name="nightly").pk])


@pytest.mark.parametrize(("scheme", "viewport"), [VIEWS[0], VIEWS[-1]])
def test_no_page_of_the_admin_has_a_fault(everything, open_page, scheme, viewport, request):  # noqa: F811
    page, complaints = open_page(scheme=scheme, viewport=viewport)
    enter(page)
    faults: dict[str, list[str]] = {}
    for address in dict.fromkeys(addresses(everything)):
        if page.request.get(address).status == 403:  # nobody may do that: test_admin.py says which
            continue
        page.goto(address)
        name = f"admin{address.removeprefix('/admin').replace('/', '-').replace('?', '-')}"
        for fault in [*complaints, *look(page, name, request.node.callspec.id)]:
            faults.setdefault(fault, []).append(address)
        complaints.clear()

    assert faults == {}, "\n".join(f"{len(where)} × {fault}: {where[0]}" for fault, where in faults.items())
