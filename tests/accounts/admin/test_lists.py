"""Lists of the admin: what an operator reads in them, what they are searched and filtered by, and what a page costs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.admin import paging
from accounts.admin.paging import span_of
from accounts.facts.publish import models_base
from accounts.models import ApiKey, AuditEvent, KeySecret, OutboxRow, User
from accounts.services.acts import record_act
from accounts.services.keys import issue_key, pause_key, revoke_key, rotate_key
from accounts.services.roles import set_role
from quotas.models import UsageHour
from tests.accounts.admin.test_admin import list_of
from tests.conftest import ACTOR
from tests.console.operators.test_front import words

pytestmark = pytest.mark.django_db


def names_in(client, model, **asked) -> list[str]:
    """What the rows of a list begin with."""
    rows = re.findall(
        r"<th[^>]*class=\"field-[^>]*>\s*<a[^>]*>([^<]*)<", client.get(list_of(model), asked).content.decode()
    )
    return [name.strip() for name in rows]


def age(key: ApiKey, *, days: int, used_days_ago: int | None = None) -> None:
    models_base(ApiKey).filter(pk=key.pk).update(created_at=timezone.now() - timedelta(days=days))
    if used_days_ago is not None:
        models_base(KeySecret).filter(key=key).update(last_used_at=timezone.now() - timedelta(days=used_days_ago))


@pytest.fixture
def of_each_state(account) -> None:
    made = {name: issue_key(account, name=name, actor=ACTOR).key for name in ("active", "paused", "revoked", "unused")}
    pause_key(made["paused"], actor=ACTOR)
    revoke_key(made["revoked"], actor=ACTOR)
    age(made["unused"], days=200, used_days_ago=100)
    rotating = issue_key(account, name="rotating", actor=ACTOR).key
    rotate_key(rotating, grace=timedelta(hours=1), actor=ACTOR)
    issue_key(account, name="expiring", expires_at=timezone.now() + timedelta(days=3), actor=ACTOR)
    expired = issue_key(account, name="expired", expires_at=timezone.now() + timedelta(days=3), actor=ACTOR).key
    models_base(ApiKey).filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(days=1))


@pytest.mark.parametrize("state", ["expiring", "rotating", "unused", "paused", "expired", "revoked"])
def test_keys_are_filtered_by_state(operator, of_each_state, state):
    assert names_in(operator, ApiKey, state=state) == [state]


def test_active_keys_are_those_that_work(operator, of_each_state):
    assert set(names_in(operator, ApiKey, state="active")) == {"active", "unused", "rotating", "expiring"}


def test_a_key_is_listed_with_its_state_account_plan_and_last_use(operator, issued):
    age(issued.key, days=3, used_days_ago=2)
    page = operator.get(list_of(ApiKey))
    assert f"first {issued.key.public_id} Active acme free the plan’s 2 days ago Never 3 days ago" in words(
        page
    ).replace("–", "Never")
    assert re.search(
        r'<time datetime="[^"]+" title="\d+ \w+ \d{4}, \d\d:\d\d UTC"[^>]*>2 days ago</time>', page.content.decode()
    )
    assert reverse("admin:accounts_account_change", args=[issued.key.account_id]) in page.content.decode()


@pytest.mark.parametrize(
    "begins", [lambda key: key.public_id[:6], lambda key: key.name[:3], lambda key: "ask_" + key.public_id]
)
def test_keys_are_found_by_how_they_begin(operator, account, issued, begins):
    issue_key(account, name="other", actor=ACTOR)
    found = names_in(operator, ApiKey, q=begins(issued.key))
    assert "first" in found and ("other" not in found or begins(issued.key) in account.public_id)


def test_people_are_listed_with_rights_second_factor_and_accounts(operator, account):
    mara = User.objects.create_user("mara", "mara@example.org", first_name="Mara", last_name="Lee")
    set_role(account, mara, "owner", actor=ACTOR)
    Authenticator.objects.create(user=mara, type=Authenticator.Type.TOTP, data={})
    page = words(operator.get(list_of(User)))
    assert "mara Mara Lee mara@example.org – Active Yes 1 account – just now" in page
    assert "olga" in page and "Superuser Active No" in page


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"rights": "superuser"}, ["olga"]),
        ({"rights": "staff"}, ["olga", "vera"]),
        ({"rights": "customer"}, ["mara", "nick"]),
        ({"state": "blocked"}, ["nick"]),
        ({"state": "no-second-factor"}, ["olga", "vera"]),
        ({"q": "mar"}, ["mara"]),
    ],
)
def test_people_are_filtered(operator, asked, found):
    mara = User.objects.create_user("mara")
    User.objects.create_user("nick", is_active=False)
    User.objects.create_user("vera", is_staff=True)
    Authenticator.objects.create(user=mara, type=Authenticator.Type.TOTP, data={})
    codes = User.objects.get(username="vera")
    Authenticator.objects.create(user=codes, type=Authenticator.Type.RECOVERY_CODES, data={})
    assert names_in(operator, User, **asked) == found


def test_the_audit_log_says_what_was_done_and_leads_to_key_and_account(operator, issued):
    page = operator.get(list_of(AuditEvent), {"kind": "key"})
    assert f"Created a key key.issue just now tests acme {issued.key.public_id[:8]} first" in words(page)
    assert reverse("admin:accounts_apikey_change", args=[issued.key.pk]) in page.content.decode()


def test_names_in_the_audit_log_are_for_those_who_may_see_them(staff_with, issued):
    page = words(staff_with("view_auditevent").get(list_of(AuditEvent)))
    assert "Created a key" in page and "acme" not in page and "first" not in page


@pytest.mark.parametrize(("model", "named"), [("sm", "sm"), ("-", "No such model")])
def test_usage_by_the_hour_names_account_key_and_model(operator, issued, model, named):
    key = issued.key.public_id
    UsageHour.objects.create(
        account=key[:8], key=key, model=model, hour=timezone.now(), birth=1, allowed=3, refused=2, units=15
    )
    assert f"acme {key[:8]} first {key} {named} 3 2 0 15" in words(operator.get(list_of(UsageHour)))


@pytest.fixture
def staff_with(client):
    def staff_with(*codenames: str):
        user = User.objects.create_user("vera", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return client

    return staff_with


def test_the_outbox_names_what_waits_and_since_when(operator, issued):
    OutboxRow.objects.all().delete()
    OutboxRow.objects.create(part="key", subject=issued.key.public_id, version=4)
    OutboxRow.objects.update(created_at=timezone.now() - timedelta(minutes=7))
    page = words(operator.get(list_of(OutboxRow)))
    assert f"Key acme {issued.key.public_id[:8]} first {issued.key.public_id} 4 7 minutes ago" in page


def test_a_time_is_a_span_of_whole_days():
    now = timezone.now().replace(hour=15)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    assert span_of("yesterday", now) == (today - timedelta(days=1), today)
    assert span_of("week", now) == (today - timedelta(days=6), today + timedelta(days=1))
    assert span_of("ever", now) is None


@pytest.mark.parametrize(("when", "found"), [("today", 1), ("yesterday", 1), ("week", 2), ("month", 3), ("", 4)])
def test_the_audit_log_is_filtered_by_time(operator, when, found):
    AuditEvent.objects.all()._raw_delete(connection.alias)
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    for days in (0, 1, 10, 100):
        record_act(ACTOR, "key.issue", str(days))
        models_base(AuditEvent).filter(subject=str(days)).update(at=today - timedelta(days=days))
    assert len(names_in(operator, AuditEvent, when=when)) == found


def test_a_large_table_is_counted_up_to_a_bound(operator, monkeypatch):
    monkeypatch.setattr(paging, "MOST_COUNTED", 3)
    for number in range(5):
        record_act(ACTOR, "key.issue", str(number))
    page = operator.get(list_of(AuditEvent))
    assert page.context["cl"].result_count == 3
    assert "More than 3 rows: search or filter to find older ones." in words(page)


LARGE = [AuditEvent, OutboxRow, ApiKey, KeySecret, User]


@pytest.mark.parametrize("model", LARGE, ids=lambda model: model.__name__)
def test_no_list_of_a_large_table_looks_at_every_row(operator, issued, model, monkeypatch):
    issue_key(issued.key.account, name="second", actor=ACTOR)
    User.objects.create_user("mara")
    for number in range(2):
        OutboxRow.objects.create(part="account", subject=issued.key.public_id[:8], version=number)
    page = admin.site.get_model_admin(model)
    monkeypatch.setattr(page, "list_per_page", 1)
    monkeypatch.setattr(page, "list_max_show_all", 1)
    with CaptureQueriesContext(connection) as asked:
        assert operator.get(list_of(model)).status_code == 200
    of_it = [one["sql"] for one in asked if f'FROM "{model._meta.db_table}"' in one["sql"]]
    assert of_it and [sql for sql in of_it if "LIMIT" not in sql and "WHERE" not in sql] == []
