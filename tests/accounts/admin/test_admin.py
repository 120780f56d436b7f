from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import (
    Account,
    ApiKey,
    AuditEvent,
    Invitation,
    KeptAnswer,
    KeyLimit,
    KeySecret,
    Membership,
    OutboxRow,
    SeenStore,
    User,
)
from accounts.services.accounts import create_account
from accounts.services.acts import Actor
from accounts.services.credentials import make_management_key, make_operator_token
from accounts.services.keys import change_key, issue_key, rotate_key
from accounts.services.roles import set_role
from quotas.limits import Limit
from quotas.models import Catalogue, Plan, PlanLimit, ServedModel, UsageHour
from store import clients, names
from tests.accounts.forms import complaints, posted, send

pytestmark = pytest.mark.django_db(transaction=True)

ACTOR = Actor("tests")
KEY = re.compile(r"ask_[0-9A-Za-z]{16}_[0-9A-Za-z]{44}")


@pytest.fixture
def looker(db):
    """Staff with permission to view everything and change nothing."""
    user = User.objects.create_user("vera", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(user)
    return client


def page_of(row, act="change"):
    opts = row._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{act}", args=[row.pk])


def shown(response):
    """The key string that is on the page."""
    found = KEY.search(response.content.decode())
    assert found, complaints(response)
    return found[0]


def list_of(model, act="changelist"):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{act}")


def published(row):
    """The facts that the gate reads, with their version beside them."""
    if isinstance(row, Catalogue):
        version, facts = clients.sync_client().hmget(names.CATALOGUE, names.VERSION, names.FACTS)
    else:
        key_id = row.public_id if isinstance(row, ApiKey) else ""
        fields = names.field(names.VERSION, key_id), names.field(names.FACTS, key_id)
        version, facts = clients.sync_client().hmget(names.account(row.public_id[:8]), *fields)
    facts = json.loads(facts)
    assert int(version) == facts["version"] == type(row).objects.get(pk=row.pk).version
    return facts


def said(response, client):
    """What the next page tells the operator."""
    assert response.status_code == 302, complaints(response)
    page = client.get(response["Location"])
    return " ".join(f"{message.level_tag}: {message}" for message in page.context["messages"])


def last_event():
    return AuditEvent.objects.first()


# Accounts.


def test_an_account_suspended_in_the_admin_is_suspended_at_the_gate(operator, account):
    before = published(account)["version"]
    response = send(operator, page_of(account, "suspend"))
    assert "success: Done: Suspend" in said(response, operator)
    facts = published(account)
    assert facts["state"] == "suspended" and facts["version"] == before + 1


def test_the_gate_itself_refuses_a_key_of_an_account_suspended_in_the_admin(operator, account, issued):
    ask = {"X-Forwarded-Uri": "/sm/", "X-Forwarded-Method": "GET", "X-Forwarded-For": "192.0.2.1"}
    ask["Authorization"] = f"Bearer {issued.text}"
    assert Client().get("/auth/", headers=ask).status_code == 200
    send(operator, page_of(account, "suspend"))
    assert Client().get("/auth/", headers=ask).status_code == 403
    send(operator, page_of(account, "resume"))
    assert Client().get("/auth/", headers=ask).status_code == 200


def test_the_audit_log_records_who_did_what_from_where_with_both_states(operator, account):
    send(operator, page_of(account, "suspend"))
    event = last_event()
    assert (event.actor, event.address, event.act, event.subject) == (
        "olga",
        "192.0.2.7",
        "account.suspend",
        account.public_id,
    )
    assert (event.before["state"], event.after["state"]) == ("active", "suspended")


def test_a_closed_account_is_refused_at_the_gate_and_offers_no_acts(operator, account):
    send(operator, page_of(account, "close"))
    assert published(account)["state"] == "closed"
    page = operator.get(page_of(account)).content.decode()
    assert "../suspend/" not in page and "../close/" not in page


def test_a_new_name_reaches_the_gate(operator, account):
    response = send(operator, page_of(account), name="acme & sons")
    assert "success: Done" in said(response, operator)
    published(account)
    assert AuditEvent.objects.values_list("act", flat=True)[0] == "account.rename"


def test_a_new_plan_reaches_the_gate(operator, account):
    response = send(operator, page_of(account, "plan"), plan=Plan.objects.get(name="pro").pk)
    assert "success: Done: acme" in said(response, operator)
    assert published(account)["plan"] == "pro"
    assert AuditEvent.objects.values_list("act", flat=True)[0] == "account.move"


def test_a_new_account_is_published_with_its_members(operator, account):
    person = User.objects.create_user("mara")
    response = send(
        operator,
        list_of(Account, "add"),
        name="new",
        plan=account.plan_id,
        **{"memberships-TOTAL_FORMS": 1, "memberships-0-user": person.pk, "memberships-0-role": "owner"},
    )
    assert "success: Done" in said(response, operator)
    new = Account.objects.get(name="new")
    assert published(new)["state"] == "active"
    assert new.memberships.get().role == "owner" and last_event().act == "account.member"


def test_an_override_is_published_and_can_be_removed(operator, account):
    send(
        operator,
        page_of(account),
        **{"overrides-TOTAL_FORMS": 1, "overrides-0-limit_name": "month", "overrides-0-amount": 7},
    )
    assert published(account)["overrides"] == {"month": {"amount": 7, "burst": None}}
    assert last_event().after["overrides"] == {"month": {"amount": 7, "burst": None}}
    send(operator, page_of(account), **{"overrides-0-DELETE": "on"})
    assert published(account)["overrides"] == {}


def test_an_override_out_of_range_is_refused_and_nothing_is_saved(operator, account):
    response = send(
        operator,
        page_of(account),
        name="renamed",
        **{"overrides-TOTAL_FORMS": 1, "overrides-0-limit_name": "minute", "overrides-0-amount": 10**10},
    )
    assert "error: minute: An amount per minute" in said(response, operator)
    account.refresh_from_db()
    assert account.name == "acme" and not account.overrides.exists() and published(account)["overrides"] == {}


def test_saving_an_account_unchanged_publishes_nothing(operator, account):
    response = send(operator, page_of(account))
    assert "info: Nothing was changed" in said(response, operator)
    assert published(account)["version"] == account.version


# Keys.


def issue(client, account, **more):
    return send(client, list_of(ApiKey, "add"), **{"for_account": account.pk, "name": "new", **more})


def test_an_issued_key_is_shown_once_and_stored_nowhere(operator, account, caplog):
    response = issue(operator, account)
    text = shown(response)
    key = ApiKey.objects.get()
    assert "no-store" in response["Cache-Control"] and published(key)["revoked"] is False
    assert "Location" not in response and text not in caplog.text
    for row in [*AuditEvent.objects.values(), *KeySecret.objects.values(), *admin.models.LogEntry.objects.values()]:
        assert text[-44:] not in str(row)
    assert all(text[-44:] not in str(session.get_decoded()) for session in Session.objects.all())
    assert text[-44:] not in operator.get(page_of(key)).content.decode()


def test_submitting_the_form_again_neither_issues_nor_shows_a_key(operator, account):
    data = posted(operator.get(list_of(ApiKey, "add")), for_account=account.pk, name="once")
    assert shown(operator.post(list_of(ApiKey, "add"), data))
    again = operator.post(list_of(ApiKey, "add"), data)
    assert "has already been issued" in said(again, operator)
    assert ApiKey.objects.count() == KeySecret.objects.count() == 1


def test_every_field_of_the_form_is_in_the_facts(operator, account):
    limit = {"name": "tight", "amount": 5, "window": "minute", "unit": "requests", "burst": 2}
    response = issue(
        operator,
        account,
        models=["sm"],
        networks="192.0.2.0/24\n2001:db8::1",
        methods=["GET", "POST"],
        metadata='{"team": "nlp"}',
        expires_at_0="2099-01-01",
        expires_at_1="00:00:00",
        **{"limits-TOTAL_FORMS": 1, **{f"limits-0-{name}": value for name, value in limit.items()}},
    )
    assert shown(response)
    key = ApiKey.objects.get()
    facts = published(key)
    assert (facts["models"], facts["methods"]) == (["sm"], ["GET", "POST"])
    assert facts["networks"] == ["192.0.2.0/24", "2001:db8::1/128"]
    assert [(one["name"], one["amount"], one["burst"]) for one in facts["limits"]] == [("tight", 5, 2)]
    assert key.metadata == {"team": "nlp"} and str(key.created_by) == "olga" and str(key.expires_at)[:4] == "2099"


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("networks", "10.0.0.1/8", "has host bits set"),
        ("metadata", "[1]", "Metadata must be a JSON object"),
        ("expires_at_0", "2001-01-01", "This time has passed"),
        ("once", "forged", "This form has expired"),
        ("name", " ", "This field is required"),
    ],
)
def test_an_invalid_value_is_refused_next_to_its_field(operator, account, field, value, complaint):
    response = issue(operator, account, **{"expires_at_1": "00:00:00" if "expires" in field else "", field: value})
    assert complaint in str(complaints(response))
    assert not ApiKey.objects.exists()


def test_a_limit_without_room_for_one_call_is_refused(operator, pro_account):
    limit = {"name": "tiny", "amount": 3, "window": "day", "unit": "units"}
    response = issue(
        operator,
        pro_account,
        **{"limits-TOTAL_FORMS": 1, **{f"limits-0-{name}": value for name, value in limit.items()}},
    )
    assert "a call to lg costs 5" in str(complaints(response))
    assert not ApiKey.objects.exists()


def test_narrowing_a_key_reaches_the_gate(operator, pro_key):
    key = pro_key.key
    before = published(key)["version"]
    response = send(operator, page_of(key), models=["lg"], networks="192.0.2.0/24")
    assert "success: Done" in said(response, operator)
    facts = published(key)
    assert (facts["models"], facts["networks"], facts["version"]) == (["lg"], ["192.0.2.0/24"], before + 1)
    assert (last_event().before["models"], last_event().after["models"]) == (None, ["lg"])


def test_a_limit_keeps_its_counter_when_only_its_amount_changes(operator, issued):
    change_key(issued.key, limits=[Limit(name="day", scope="key", amount=9, window="day")], actor=ACTOR)
    since = KeyLimit.objects.get().counted_since
    send(operator, page_of(issued.key), **{"limits-0-amount": 8})
    assert (KeyLimit.objects.get().counted_since, KeyLimit.objects.get().amount) == (since, 8)
    send(operator, page_of(issued.key), **{"limits-0-window": "month"})
    assert KeyLimit.objects.get().counted_since > since


def test_rotation_shows_the_new_secret_once_and_keeps_the_old_one_for_the_grace_period(operator, issued):
    data = posted(operator.get(page_of(issued.key, "rotate")), grace=48)
    response = operator.post(page_of(issued.key, "rotate"), data)
    text = shown(response)
    assert text != issued.text and "no-store" in response["Cache-Control"]
    new, old = published(issued.key)["secrets"][:2]
    left = old["until"] - timezone.now().timestamp()
    assert new["until"] is None and 47.9 * 3600 < left <= 48 * 3600
    again = operator.post(page_of(issued.key, "rotate"), data)
    assert not KEY.search(again.content.decode()) and "has changed since" in again.content.decode()
    assert KeySecret.objects.count() == 2


@pytest.mark.parametrize("grace", [-1, 169, "", "soon"])
def test_a_grace_period_is_0_to_7_days(operator, issued, grace):
    response = send(operator, page_of(issued.key, "rotate"), grace=grace)
    assert not KEY.search(response.content.decode()) and KeySecret.objects.count() == 1


def test_ending_a_rotation_ends_the_old_secret_now(operator, issued):
    rotate_key(issued.key, grace=timedelta(days=7), actor=ACTOR)
    send(operator, page_of(issued.key, "end-rotation"))
    old = published(issued.key)["secrets"][-1]
    assert old["until"] <= timezone.now().timestamp()
    assert "end-rotation" not in operator.get(page_of(issued.key)).content.decode()


def test_a_key_revoked_in_the_admin_is_revoked_at_the_gate(operator, issued):
    response = send(operator, page_of(issued.key, "revoke"))
    assert "success: Done: Revoke" in said(response, operator)
    assert published(issued.key)["revoked"] is True and last_event().act == "key.revoke"


def test_bulk_revocation_asks_for_confirmation(operator, account, issued, pro_key):
    chosen = {"action": "revoke_selected", "_selected_action": [issued.key.pk], "select_across": "0"}
    page = operator.post(list_of(ApiKey), chosen)
    assert "1 key will be refused" in page.content.decode() and published(issued.key)["revoked"] is False
    assert "success: Done: 1 key revoked" in said(operator.post(list_of(ApiKey), posted(page)), operator)
    assert published(issued.key)["revoked"] is True and published(pro_key.key)["revoked"] is False


def test_all_keys_of_a_search_can_be_revoked_at_once(operator, account, issued, pro_key):
    url = list_of(ApiKey) + "?q=acme"
    chosen = {"action": "revoke_selected", "_selected_action": [issued.key.pk], "select_across": "1"}
    page = operator.post(url, chosen)
    assert "2 keys will be refused" in page.content.decode()
    operator.post(url, posted(page))
    assert not ApiKey.objects.filter(revoked_at=None).exists()


def test_a_key_is_found_by_the_visible_start_of_its_secret_only(operator, issued):
    start = issued.key.secrets.get().start
    digest = issued.key.secrets.get().digest
    assert operator.get(list_of(ApiKey), {"q": start}).context["cl"].result_count == 1
    assert operator.get(list_of(KeySecret), {"digest__startswith": digest[:4]}).status_code == 400
    for url in (list_of(KeySecret), page_of(issued.key.secrets.get()), page_of(issued.key)):
        assert digest not in operator.get(url).content.decode()


# Models, plans, the catalogue.


def test_an_edited_plan_reaches_the_facts_that_the_gate_reads(operator, catalogue):
    plan, row = Plan.objects.get(name="free"), Catalogue.objects.get()
    before, since = published(row)["version"], PlanLimit.objects.get(name="minute").counted_since
    response = send(operator, page_of(plan), **{"limits-0-amount": 30, "limits-0-burst": 5})
    assert "success: Done" in said(response, operator)
    facts = published(row)
    minute = next(limit for limit in facts["plans"]["free"]["limits"] if limit["name"] == "minute")
    assert (minute["amount"], minute["burst"], facts["version"]) == (30, 5, before + 1)
    assert PlanLimit.objects.get(name="minute").counted_since == since
    assert last_event().after == {"changed": ["plan free: limit minute amount 60 → 30, burst 10 → 5"]}


def test_a_limit_with_a_new_counter_is_counted_from_now(operator, catalogue):
    since = PlanLimit.objects.get(name="month").counted_since
    now = timezone.now()
    send(operator, page_of(Plan.objects.get(name="free")), **{"limits-1-name": "day", "limits-1-window": "day"})
    assert PlanLimit.objects.get(name="day").counted_since >= now > since
    assert not PlanLimit.objects.filter(name="month").exists()


def test_limits_may_swap_names(operator, catalogue):
    send(operator, page_of(Plan.objects.get(name="free")), **{"limits-0-name": "month", "limits-1-name": "minute"})
    assert set(PlanLimit.objects.filter(plan__name="free").values_list("name", "window")) == {
        ("month", "minute"),
        ("minute", "month"),
    }


def test_a_new_plan_is_published_with_its_limits(operator, catalogue):
    limit = {"name": "hour", "scope": "account", "amount": 9, "window": "hour", "unit": "requests"}
    send(
        operator,
        list_of(Plan, "add"),
        name="team",
        served_models=[ServedModel.objects.get(slug="lg").pk],
        **{"limits-TOTAL_FORMS": 1, **{f"limits-0-{name}": value for name, value in limit.items()}},
    )
    plan = published(Catalogue.objects.get())["plans"]["team"]
    assert plan["models"] == ["lg"] and plan["limits"][0]["amount"] == 9


def test_a_plan_with_an_unbounded_limit_per_key_warns_when_saved_and_on_its_page(operator, catalogue):
    plan = Plan.objects.get(name="free")
    told = said(send(operator, page_of(plan), **{"limits-0-amount": 30}), operator)
    assert "warning: Plan free: the limit minute multiplies with an account's keys" in told
    assert "success: Done" in told
    assert "10 times 30 requests a minute" in operator.get(page_of(plan)).content.decode()
    assert "10 times" not in said(send(operator, page_of(plan), **{"limits-0-scope": "account"}), operator)
    assert "10 times" not in operator.get(page_of(plan)).content.decode()


@pytest.mark.parametrize(
    ("filled", "complaint"),
    [
        ({"all_models": "on", "limits-1-amount": 4}, "a call to lg costs 5"),
        ({"limits-0-burst": 0}, "A burst is a whole number"),
        ({"limits-0-amount": 10**9 + 1}, "An amount per minute"),
        ({"limits-1-burst": 3}, "has no burst"),
        ({"limits-1-name": "minute"}, "two limits are named minute"),
        ({"limits-1-window": "minute", "limits-1-scope": "key", "limits-1-unit": "requests"}, "have the same counter"),
    ],
)
def test_an_inconsistent_plan_is_refused(operator, catalogue, filled, complaint):
    before = published(Catalogue.objects.get())
    response = send(operator, page_of(Plan.objects.get(name="free")), **filled)
    assert complaint in str(complaints(response))
    assert published(Catalogue.objects.get()) == before


def test_an_edited_model_reaches_the_facts_and_keeps_its_slug(operator, catalogue):
    model = ServedModel.objects.get(slug="lg")
    send(operator, page_of(model), cost=3, enabled=None, slug="other")
    assert published(Catalogue.objects.get())["models"]["lg"] == {"path": "/v1/large", "cost": 3, "enabled": False}
    assert "cost 5 → 3" in last_event().after["changed"][0]


def test_a_new_models_path_defaults_to_its_slug(operator, catalogue):
    send(operator, list_of(ServedModel, "add"), slug="fr")
    assert published(Catalogue.objects.get())["models"]["fr"]["path"] == "/fr"


@pytest.mark.parametrize(
    ("filled", "complaint"),
    [
        ({"path": "/v1"}, "no prefix may do so"),
        ({"path": "/v1/large/x"}, "no prefix may do so"),
        ({"path": "/a//b"}, "Use a path of plain segments"),
        ({"cost": 101}, "plan pro: a call to xl costs 101"),
        ({"slug": "lg"}, "already exists"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused(operator, catalogue, filled, complaint):
    catalogue("""
        [models.sm]
        [models.lg]
        path = "/v1/large"
        [plans.pro]
        models = ["*"]
        limits = [{ name = "s", per = "account", amount = 50, window = "second", burst = 100, unit = "units" }]
    """)
    response = send(operator, list_of(ServedModel, "add"), **{"slug": "xl", **filled})
    assert complaint in str(complaints(response))
    assert ServedModel.objects.count() == 2


def test_changing_the_default_plan_changes_nothing_else_in_the_catalogue(operator, catalogue):
    row = Catalogue.objects.get()
    send(operator, page_of(row), default_plan=Plan.objects.get(name="pro").pk, version=1)
    assert str(Catalogue.objects.get().default_plan) == "pro" and published(row)["version"] == row.version + 1
    assert operator.get(list_of(Catalogue, "add")).status_code == 403


# Pending.


@pytest.mark.parametrize("act", ["suspend", "close"])
def test_an_act_is_pending_while_redis_is_down(operator, account, redis_away, act):
    with redis_away():
        told = said(send(operator, page_of(account, act)), operator)
    assert "warning: Pending" in told and "Done" not in told
    assert OutboxRow.objects.filter(part="account", subject=account.public_id).exists()


def test_a_saved_form_is_pending_while_redis_is_down(operator, catalogue, redis_away):
    plan, before = Plan.objects.get(name="free"), published(Catalogue.objects.get())["version"]
    with redis_away():
        told = said(send(operator, page_of(plan), **{"limits-0-amount": 30}), operator)
    assert "warning: Pending" in told and "Done" not in told and "success" not in told
    assert OutboxRow.objects.get(part="catalogue").version == before + 1


def test_a_key_issued_while_redis_is_down_is_shown_as_pending(operator, account, redis_away):
    with redis_away():
        page = issue(operator, account).content.decode()
    assert KEY.search(page) and "Pending" in page and "Done" not in page


def test_a_bulk_revocation_is_pending_while_redis_is_down(operator, issued, redis_away):
    with redis_away():
        chosen = {"action": "revoke_selected", "_selected_action": [issued.key.pk], "confirmed": "1"}
        assert "warning: Pending" in said(operator.post(list_of(ApiKey), chosen), operator)
    assert ApiKey.objects.get().revoked_at is not None


# What nobody can do.


@pytest.fixture
def one_of_each(account, issued):
    """A row of every model."""
    set_role(account, User.objects.create_user("mara"), "owner", actor=ACTOR)
    change_key(issued.key, limits=[Limit(name="day", scope="key", amount=9, window="day")], actor=ACTOR)
    OutboxRow.objects.create(part="account", subject=account.public_id, version=1)
    SeenStore.objects.create(pk=1, identity="run-id")
    make_management_key(account, name="ci", scopes=["keys:read"], actor=ACTOR)
    make_operator_token(name="billing", scopes=["accounts:write"], actor=ACTOR)
    Invitation.objects.create(account=account, public_id="0" * 16, email="a@example.org", expires_at=timezone.now())
    KeptAnswer.objects.create(caller="session:1", key="k", fingerprint="f", status=201, body={})
    UsageHour.objects.create(
        account=account.public_id, key=issued.key.public_id, model="sm", hour=timezone.now(), birth=1
    )


REGISTERED = [model for model in admin.site._registry if model._meta.app_label in ("accounts", "quotas")]


def test_each_of_our_models_has_pages_or_is_shown_on_those_of_another():
    inline = {"AccountOverride", "KeyLimit", "PlanLimit"}
    of_reports = {"UsageDay", "UsageMonth", "AccountDay", "RefusalHour", "RefusalDay", "RefusalMonth", "DaysKept"}
    of_the_person_alone = {"Notification", "SignInPlace", "SwitchedOffTopic"}
    of_the_api, of_nobody = {"ImportJob", "ImportLine"}, {"Deployment"}
    ours = {model.__name__ for app in ("accounts", "quotas") for model in apps.get_app_config(app).get_models()}
    assert {
        model.__name__ for model in REGISTERED
    } == ours - inline - of_reports - of_the_api - of_nobody - of_the_person_alone


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_every_page_can_be_opened_and_searched(operator, one_of_each, model):
    assert operator.get(list_of(model), {"q": "a"}).status_code == 200
    assert operator.get(page_of(model.objects.first())).status_code == 200


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_staff_with_view_permissions_change_nothing(looker, one_of_each, model):
    row = model.objects.first()
    assert looker.get(page_of(row)).status_code == 200
    before = AuditEvent.objects.count()
    for url in (page_of(row), page_of(row, "delete"), list_of(model, "add")):
        assert looker.post(url, {"name": "x", "post": "yes"}).status_code == 403
    assert AuditEvent.objects.count() == before


def test_staff_with_view_permissions_cannot_act(looker, account, issued):
    urls = [page_of(account, act) for act in ("suspend", "resume", "close")]
    urls += [page_of(issued.key, act) for act in ("rotate", "end-rotation", "pause", "resume", "revoke")]
    assert {looker.get(url).status_code for url in urls} == {403}
    assert {looker.post(url, {"grace": 1, "version": 1}).status_code for url in urls} == {403}
    looker.post(list_of(ApiKey), {"action": "revoke_selected", "_selected_action": [issued.key.pk], "confirmed": "1"})
    assert published(issued.key)["revoked"] is False and published(account)["state"] == "active"
    assert "../suspend/" not in looker.get(page_of(account)).content.decode()


def test_strangers_are_sent_to_sign_in(account):
    assert Client().post(page_of(account, "suspend")).status_code == 302
    assert published(account)["state"] == "active"


def test_acts_need_a_csrf_token_and_a_post(operator, account):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="olga"))
    assert strict.post(page_of(account, "suspend")).status_code == 403
    operator.get(page_of(account, "suspend"))
    assert published(account)["state"] == "active"


KEPT = [Account, ApiKey, KeySecret, ServedModel, Plan, Catalogue, UsageHour, AuditEvent, OutboxRow]


@pytest.mark.parametrize("model", KEPT, ids=lambda model: model.__name__)
def test_not_even_a_superuser_can_delete_rows_that_must_stay(operator, one_of_each, model):
    row = model.objects.first()
    assert operator.post(page_of(row, "delete"), {"post": "yes"}).status_code == 403
    operator.post(list_of(model), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert model.objects.filter(pk=row.pk).exists()
    assert "deletelink" not in operator.get(page_of(row)).content.decode()


READ_ONLY = [KeySecret, UsageHour, AuditEvent, OutboxRow, SeenStore, Invitation, KeptAnswer]


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)
def test_not_even_a_superuser_can_add_or_change_read_only_rows(operator, one_of_each, model):
    row = model.objects.first()
    before = model.objects.filter(pk=row.pk).values().get()
    for url in (page_of(row), list_of(model, "add")):
        assert operator.post(url, {"actor": "x"}).status_code == 403
        assert operator.post(url, {"actor": "x", "_saveasnew": "1"}).status_code == 403
    assert model.objects.filter(pk=row.pk).values().get() == before
    assert not operator.get(list_of(model)).context["cl"].formset


def test_the_audit_log_outlives_the_person_in_it(operator, account):
    person = User.objects.create_user("mara", is_staff=True)
    set_role(account, person, "owner", actor=Actor("mara", user=person))
    events = list(AuditEvent.objects.values())
    operator.post(page_of(person, "delete"), {"post": "yes"})
    assert not User.objects.filter(username="mara").exists()
    assert list(AuditEvent.objects.order_by("-id").values())[1:] == events and last_event().act == "user.delete"


def test_changes_of_people_and_their_roles_are_recorded(operator, account):
    person = User.objects.create_user("mara")
    send(operator, page_of(person), is_staff="on")
    assert (last_event().act, last_event().before["is_staff"], last_event().after["is_staff"]) == (
        "user.change",
        False,
        True,
    )
    send(operator, list_of(Membership, "add"), account=account.pk, user=person.pk, role="viewer")
    send(operator, page_of(Membership.objects.get()), role="admin")
    assert (last_event().before["role"], last_event().after["role"]) == ("viewer", "admin")
    operator.post(page_of(Membership.objects.get(), "delete"), {"post": "yes"})
    assert (last_event().act, last_event().after) == ("account.member", None)


def test_staff_cannot_make_themselves_superusers(db):
    clerk = User.objects.create_user("carl", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user"]))
    root = User.objects.create_superuser("root", password="x")
    client = Client()
    client.force_login(clerk)
    send(client, page_of(clerk), is_superuser="on", first_name="Carl")
    clerk.refresh_from_db()
    assert clerk.first_name == "Carl" and not clerk.is_superuser
    assert client.post(page_of(root), {"username": "x"}).status_code == 403
    assert client.get(reverse("admin:auth_user_password_change", args=[root.pk])).status_code == 403


# Queries.


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_a_list_page_takes_as_many_queries_for_more_rows(
    operator, one_of_each, model, django_assert_max_num_queries, django_assert_num_queries
):
    url = list_of(model)
    operator.get(url)
    with django_assert_max_num_queries(25) as counted:
        operator.get(url)
    free = Plan.objects.get(name="free")
    for number in range(3):
        more, _ = create_account(f"more {number}", free, actor=ACTOR, owner=User.objects.create_user(f"u{number}"))
        rotate_key(issue_key(more, name="k", actor=ACTOR).key, grace=timedelta(1), actor=ACTOR)
    for slug in ("x1", "x2"):
        ServedModel.objects.create(slug=slug, path=f"/{slug}")
        Plan.objects.create(name=slug).served_models.set(ServedModel.objects.all())
    hour = UsageHour.objects.get()
    UsageHour.objects.create(account=hour.account, key=hour.key, model="lg", hour=hour.hour, birth=2)
    OutboxRow.objects.create(part="catalogue", version=3)
    with django_assert_num_queries(len(counted.captured_queries)):
        operator.get(url)
