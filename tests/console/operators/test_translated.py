"""Every page of the admin in a test language that shows what nobody marked or translated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from accounts.admin.acts import Act, ActsAdmin
from accounts.models import (
    Account,
    ApiKey,
    Invitation,
    ManagementKey,
    Membership,
    OperatorToken,
    OutboxRow,
    SeenStore,
    User,
)
from accounts.services.credentials import make_management_key, make_operator_token
from accounts.services.invitations import invite
from accounts.services.keys import issue_key
from accounts.services.roles import set_role
from quotas.limits import Limit
from quotas.models import Plan, ServedModel
from tests.accounts.forms import posted
from tests.bracketed import brackets, words_outside_on
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)

_WITH_IDS = (Account, ApiKey, Invitation, Membership, ManagementKey, OperatorToken)
# Names that people gave, and what is the same in every language.
_DATA = re.compile(
    r"authsvc|olga|mia|vera|tests|acme|globex|Globex|free|pro|sm|lg|laptop|batch|nightly|own|ci|redis|small|large|second|minute|month"
    r"|catalogue|Redis|English|Français|None|True|False"  # a subject of the audit log, languages, Django's icons
    r"|ask_|\w+@example\.org|\w+:\w+|\w+\.\w+|\w+_\w+|[A-Z]{2,}|[0-9a-f]{2,8}"
)
# Permissions are rows that Django wrote in English, and the audit log keeps values as JSON. Django's magnifying glass
# has an English name in every language.
_STORED = re.compile(
    r'<div id="id_(?:user_)?permissions">.*?</div>\s*</div>|<div class="readonly">\{.*?</div>| alt="Search"', re.DOTALL
)


@pytest.fixture(autouse=True)
def _in_brackets() -> Iterator[None]:
    with brackets():
        yield


@pytest.fixture
def olga() -> Client:
    User.objects.create_superuser("olga", "olga@example.org")
    client = Client(headers={"accept-language": "fr"})
    client.force_login(User.objects.get(username="olga"))
    return client


@pytest.fixture
def full(account: Account, busy) -> Account:
    """A row in every table."""
    set_role(account, User.objects.create_user("mia"), "member", actor=ACTOR)
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    make_operator_token(name="ci", scopes=["keys:write"], actor=ACTOR)
    invite(account, email="new@example.org", role="member", actor=ACTOR)
    own = Limit(name="own", scope="key", amount=5, window="day")
    issue_key(account, name="nightly", models=["sm"], networks=["192.0.2.0/24"], limits=[own], actor=ACTOR)
    OutboxRow.objects.create(part="key", subject=ApiKey.objects.all()[0].public_id, version=1)
    SeenStore.objects.get_or_create(pk=1, defaults={"identity": "redis"})
    return account


def of(row: Any, page: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[row.pk])


def _acts_on(row: Account | ApiKey) -> Iterable[Act]:
    page = admin.site.get_model_admin(type(row))
    assert isinstance(page, ActsAdmin)
    return page.acts


def pages() -> list[str]:
    """Every page of ours, and every page of every table with and without rows."""
    found = [reverse(f"admin:{name}") for name in ("index", "usage", "refused", "which_key", "explain", "tables")]
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        found += [reverse(f"{name}_changelist"), f"{reverse(f'{name}_changelist')}?q=nothing", reverse(f"{name}_add")]
        if row := model._default_manager.first():
            found += [of(row, page) for page in ("change", "history", "delete")]
    account, key = Account.objects.get(name="acme"), ApiKey.objects.get(name="nightly")
    found += [of(row, act.name) for row in (account, key) for act in _acts_on(row)]
    found.append(of(account, "plan"))
    mia = User.objects.get(username="mia")
    return [*found, reverse("admin:password_change"), reverse("admin:auth_user_password_change", args=[mia.pk])]


def outside(page: str) -> list[str]:
    """The words of a page that are in no brackets, apart from names of things and what programs say."""
    ids = (re.escape(row.public_id) for table in _WITH_IDS for row in table.objects.all())
    named = re.compile(rf"(?:{'|'.join(sorted(ids, key=len, reverse=True))})(?:_\w*)?")
    words = words_outside_on(named.sub(" ", _STORED.sub("", page)))
    return [word for word in words if not _DATA.fullmatch(word)]


def test_no_page_has_english(olga, full):
    found = {}
    for path in pages():
        page = olga.get(path)
        if page.status_code == 200:
            found[path] = outside(page.content.decode())
    assert {path: words for path, words in found.items() if words} == {} and len(found) > 80


def test_staff_who_may_only_look_see_no_english(full):
    looker = User.objects.create_user("vera", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client(headers={"accept-language": "fr"})
    client.force_login(looker)
    found = {path: client.get(path) for path in pages()}
    shown = {path: outside(page.content.decode()) for path, page in found.items() if page.status_code in (200, 403)}
    assert {path: words for path, words in shown.items() if words} == {} and len(shown) > 60


def test_no_refused_form_has_english(olga, full):
    found = {}
    for model in admin.site._registry:
        for path in (list_of(model, "add"), *(of(row) for row in model._default_manager.all()[:1])):
            page = olga.get(path)
            if page.status_code == 200 and (fields := posted(page)):
                answer = olga.post(path, dict.fromkeys(fields, "§") | _left_alone(fields), follow=True)
                found[path] = outside(answer.content.decode())
    account, key = Account.objects.get(name="acme"), ApiKey.objects.get(name="nightly")
    for path, form in (
        (of(account, "plan"), {"plan": "x"}),
        (of(key, "rotate"), {"grace": "999"}),
        (reverse("admin:which_key"), {"text": "x"}),
        (reverse("admin:password_change"), {"old_password": "x"}),
    ):
        found[path] = outside(olga.post(path, form, follow=True).content.decode())
    assert {path: words for path, words in found.items() if words} == {} and len(found) > 15


def test_what_was_done_is_told_without_english(olga, full):
    account, key = Account.objects.get(name="acme"), ApiKey.objects.get(name="nightly")
    keys, people = list_of(ApiKey), list_of(User)
    selected = {"action": "revoke_selected", "_selected_action": [key.pk]}
    mia = User.objects.get(username="mia")
    steps = [
        (of(account, "suspend"), {}),
        (of(account, "resume"), {}),
        (of(account, "plan"), {"plan": account.plan_id}),
        (of(key, "pause"), {}),
        (of(key, "resume"), {}),
        (of(key, "rotate"), {"grace": "1", "version": key.version + 2}),
        (list_of(OperatorToken, "add"), {"name": "ci", "scopes": ["keys:write"]}),
        (list_of(ManagementKey, "add"), {"account": account.pk, "name": "ci", "scopes": ["keys:read"]}),
        (of(OperatorToken.objects.all()[0], "revoke"), {}),
        (keys, selected),
        (keys, {**selected, "confirmed": "1"}),
        (people, {"action": "delete_selected", "_selected_action": [mia.pk]}),
        (people, {"action": "delete_selected", "_selected_action": [mia.pk], "post": "yes"}),
        (list_of(ServedModel), {"action": "include_in_every", "_selected_action": [ServedModel.objects.all()[0].pk]}),
    ]
    told = []
    for path, form in steps:
        page = olga.post(path, form, follow=True)
        assert page.status_code == 200, path
        told.append((path, outside(page.content.decode())))
    assert [(path, words) for path, words in told if words] == []
    key.refresh_from_db()
    assert key.revoked_at and not User.objects.filter(username="mia").exists()


def test_saved_forms_say_so_without_english(olga, full):
    plan, account = Plan.objects.get(name="pro"), Account.objects.get(name="acme")
    for row, changes in (
        (plan, {"title": "free"}),
        (plan, {}),
        (account, {"name": "acme", "max_keys": "7"}),
        (ServedModel.objects.get(slug="sm"), {"title": "large"}),
        (User.objects.get(username="mia"), {"language": "fr"}),
    ):
        answer = olga.post(of(row), {**posted(olga.get(of(row))), **changes}, follow=True)
        assert answer.status_code == 200 and answer.redirect_chain
        assert outside(answer.content.decode()) == [], row


def list_of(model: type[Model], page: str = "changelist") -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}")


def _left_alone(fields: dict[str, Any]) -> dict[str, Any]:
    """The hidden counts of rows, without which Django answers that the form was tampered with, and rows to choose."""
    chosen = ("account", "user")  # Django's widget to choose one expects a number
    return {name: fields[name] for name in fields if "_FORMS" in name or name.endswith(chosen)}
