"""Changing accounts by the same rules through commands, the admin, the API and billing systems."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts import caps
from accounts.facts.publish import models_base
from accounts.models import Account, AuditEvent, KeySecret, ManagementKey, OutboxRow, User
from accounts.refused import Refused
from accounts.services import provisioning
from accounts.services.accounts import (
    AccountEdit,
    OverrideAmount,
    call_account_by,
    change_account,
    close_account,
    move_account,
    override_limit,
    rename_account,
    reopen_account,
    resume_account,
    suspend_account,
)
from accounts.services.acts import Actor
from accounts.services.closing import close_and_erase
from accounts.services.credentials import make_management_key, revoke_credential
from accounts.services.keys import issue_key, revoke_key
from accounts.services.provisioning import put_account
from quotas.models import Plan, PlanLimit
from store import clients, names
from tests.accounts.forms import send
from tests.api import test_accounts
from tests.api.callers import member_of, program_of
from tests.conftest import ACTOR, CATALOGUE


def ask_gate(text):
    """The gate's answer; 503 on a busy machine is not one."""
    statuses = (test_accounts.ask_gate(text) for _ in range(50))
    return next((status for status in statuses if status != 503), 503)


def set_(account, **wanted):
    change_account(account, AccountEdit(**wanted), actor=ACTOR)


def move(account, plan):
    move_account(account, Plan.objects.get(name=plan), actor=ACTOR)


BOTH = pytest.mark.parametrize("move", [move, lambda account, plan: set_(account, plan=plan)], ids=["command", "API"])


@pytest.fixture
def of_long_ago(account):
    moment = timezone.now() - timedelta(days=40)
    models_base(Account).update(plan_since=moment)
    account.refresh_from_db()
    return moment


@pytest.mark.django_db(transaction=True)
@BOTH
def test_a_new_plan_updates_plan_since_and_is_published(account, of_long_ago, move):
    before = timezone.now()
    move(account, "pro")
    account.refresh_from_db()
    assert before <= account.plan_since <= timezone.now()
    facts = json.loads(clients.sync_client().hget(names.account(account.public_id), names.FACTS))
    assert facts["plan_since"] == int(account.plan_since.timestamp() * 1_000_000) and facts["plan"] == "pro"


@BOTH
def test_the_same_plan_keeps_plan_since(account, of_long_ago, move):
    move(account, "free")
    account.refresh_from_db()
    assert account.plan_since == of_long_ago


def last_audit():
    event = AuditEvent.objects.order_by("pk").last()
    assert event is not None
    return event


@pytest.mark.parametrize(
    ("wanted", "act", "before", "after"),
    [
        ({"external_id": "cus_9"}, "account.external_id", {"external_id": "acme"}, {"external_id": "cus_9"}),
        ({"status": "suspended"}, "account.suspend", {"state": "active"}, {"state": "suspended"}),
        ({"status": "closed"}, "account.close", {"state": "active"}, {"state": "closed"}),
        ({"plan": "pro"}, "account.move", {"plan": "free"}, {"plan": "pro"}),
        ({"name": "New"}, "account.rename", {"name": "acme"}, {"name": "New"}),
        ({"max_keys": 7}, "account.cap_keys", {"max_keys": None}, {"max_keys": 7}),
        (
            {"overrides": {"minute": OverrideAmount(5, 5)}},
            "account.override",
            {"overrides": {}},
            {"overrides": {"minute": {"amount": 5, "burst": 5}}},
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_change_of_a_billing_system_is_recorded_once(account, wanted, act, before, after):
    count = AuditEvent.objects.count()
    set_(account, **wanted)
    set_(account, **wanted)
    event = last_audit()
    assert AuditEvent.objects.count() == count + 1 and event.act == act
    assert (event.before, event.after) == (before, after)


def test_changes_in_one_request_are_recorded_one_by_one(account):
    set_(account, name="New", plan="pro", status="suspended")
    latest = AuditEvent.objects.order_by("-pk")[:3]
    assert [event.act for event in latest] == ["account.suspend", "account.move", "account.rename"]
    assert [event.after for event in latest] == [{"state": "suspended"}, {"plan": "pro"}, {"name": "New"}]


def test_a_change_of_only_an_overrides_burst_is_recorded(account):
    set_(account, overrides={"minute": OverrideAmount(5, 5)})
    set_(account, overrides={"minute": OverrideAmount(5, 4)})
    assert last_audit().after["overrides"] == {"minute": {"amount": 5, "burst": 4}}
    override_limit(account, "minute", 5, burst=3, actor=ACTOR)
    assert last_audit().before["overrides"] == {"minute": {"amount": 5, "burst": 4}}
    count = AuditEvent.objects.count()
    override_limit(account, "minute", 5, burst=3, actor=ACTOR)
    assert AuditEvent.objects.count() == count


@pytest.mark.parametrize(("status", "field"), [("suspended", "suspended_at"), ("closed", "closed_at")])
def test_repeating_a_status_keeps_the_time_of_the_first_request(account, status, field):
    set_(account, status=status)
    moment = getattr(account, field)
    set_(account, status=status)
    account.refresh_from_db()
    assert getattr(account, field) == moment is not None


def test_an_account_is_created_as_requested_in_one_act(catalogue):
    wanted = AccountEdit(status="suspended", plan="pro", overrides={"second": OverrideAmount(5)})
    account, was_made, _ = put_account("cus_1", wanted, actor=ACTOR)
    account.refresh_from_db()
    assert was_made and (account.state, account.plan.name) == ("suspended", "pro")
    assert [event.act for event in AuditEvent.objects.exclude(act="catalogue.change")] == ["account.create"]
    assert last_audit().after["state"] == "suspended" and last_audit().after["overrides"]["second"]["amount"] == 5


@pytest.mark.django_db(transaction=True)
def test_an_invalid_request_for_a_new_account_leaves_none_behind(catalogue):
    with pytest.raises(ValidationError):
        put_account("cus_1", AccountEdit(overrides={"nothing": OverrideAmount(5)}), actor=ACTOR)
    assert not Account.objects.exists() and not OutboxRow.objects.exists()


# Reopening.


def reopen(account):
    reopen_account(account, actor=ACTOR)


WAYS_BACK = pytest.mark.parametrize(
    "reopen", [reopen, lambda account: set_(account, status="active")], ids=["admin", "API"]
)


@pytest.mark.django_db(transaction=True)
@WAYS_BACK
def test_a_reopened_account_has_its_keys_people_and_plan(account, issued, reopen):
    owner, program = member_of(account, "owner"), program_of(account, "keys:read")
    revoked = issue_key(account, name="revoked", actor=ACTOR)
    revoke_key(revoked.key, actor=ACTOR)
    close_account(account, actor=ACTOR)
    assert ask_gate(issued.text) == 403 and program.get("/api/v1/keys/").status_code == 401
    reopen(account)
    assert (ask_gate(issued.text), ask_gate(revoked.text)) == (200, 401)
    assert program.get("/api/v1/keys/").status_code == 200
    assert owner.get(f"/api/v1/accounts/{account.public_id}/").json()["status"] == "active"
    assert last_audit().before["state"] == "closed" and last_audit().after["state"] == "active"


@pytest.mark.django_db(transaction=True)
@WAYS_BACK
def test_reopening_publishes_the_account_and_all_its_keys_again(account, issued, reopen):
    keys = [issued.key] + [issue_key(account, name=f"{n}", actor=ACTOR).key for n in range(12)]
    close_account(account, actor=ACTOR)
    client, place = clients.sync_client(), names.account(account.public_id)
    for key in keys:  # as a version may do that keeps of a closed account no more than this
        client.hdel(place, names.field("f", key.public_id))
    versions = dict(account.keys.values_list("public_id", "version"))
    reopen(account)
    for key in keys:
        key.refresh_from_db()
        assert key.version == versions[key.public_id] + 1
        assert client.hget(place, names.field("v", key.public_id)) == str(key.version)
        assert client.hexists(place, names.field("f", key.public_id))
    assert not OutboxRow.objects.exists() and ask_gate(issued.text) == 200


@pytest.mark.django_db(transaction=True)
def test_reopening_without_redis_is_pending_and_the_worker_publishes_the_keys(account, issued, redis_away):
    close_account(account, actor=ACTOR)
    with redis_away():
        assert reopen_account(account, actor=ACTOR).is_pending
    assert set(OutboxRow.objects.values_list("part", flat=True)) == {"account", "key"}
    assert ask_gate(issued.text) == 403


def test_reopening_an_open_account_changes_nothing(account, issued):
    count, version = AuditEvent.objects.count(), issued.key.version
    reopen(account)
    issued.key.refresh_from_db()
    assert (AuditEvent.objects.count(), issued.key.version, account.state) == (count, version, "active")


def test_an_account_suspended_before_closing_is_suspended_after_reopening(account):
    suspend_account(account, actor=ACTOR)
    close_account(account, actor=ACTOR)
    with pytest.raises(Refused, match=r"is closed\. Reopen it first"):
        resume_account(account, actor=ACTOR)
    reopen(account)
    assert account.state == "suspended"
    set_(account, status="closed")
    set_(account, status="active")
    assert account.state == "active" and account.suspended_at is None


def test_a_closed_account_forgets_from_where_its_keys_were_used(account, issued):
    models_base(KeySecret).update(last_used_from="203.0.113.7")
    close_account(account, actor=ACTOR)
    assert issued.key.secrets.get().last_used_from is None


def test_tenants_cannot_reopen_an_account(account):
    owner = member_of(account, "owner")
    close_account(account, actor=ACTOR)
    url = f"/api/v1/accounts/{account.public_id}/"
    assert owner.patch(url, {"status": "active"}, content_type="application/json").status_code == 403
    account.refresh_from_db()
    assert account.state == "closed"


def test_the_admin_can_reopen_a_closed_account_unless_it_was_erased(admin_client, account, pro_account):
    close_account(account, actor=ACTOR)
    page = f"/admin/accounts/account/{account.pk}/"
    assert "reopen/" in admin_client.get(f"{page}change/").content.decode()
    assert send(admin_client, f"{page}reopen/").status_code == 302
    account.refresh_from_db()
    assert account.state == "active" and last_audit().act == "account.reopen"
    close_and_erase(pro_account, actor=ACTOR)
    assert "reopen/" not in admin_client.get(f"/admin/accounts/account/{pro_account.pk}/change/").content.decode()


def test_staff_can_set_the_external_id_in_the_admin(admin_client, account):
    page = f"/admin/accounts/account/{account.pk}/change/"
    assert send(admin_client, page, external_id="cus_7").status_code == 302
    assert last_audit().act == "account.external_id" and last_audit().after["external_id"] == "cus_7"
    send(admin_client, page, external_id="")
    account.refresh_from_db()
    assert account.external_id is None
    send(admin_client, "/admin/accounts/account/add/", name="acme", external_id="cus_8", plan=str(account.plan_id))
    assert Account.objects.get(external_id="cus_8").name == "acme"


# An account that was erased.


@WAYS_BACK
def test_an_erased_account_stays_closed(account, reopen):
    close_and_erase(account, actor=ACTOR)
    with pytest.raises(Refused, match=r"closed and erased, which cannot be undone\. Create a new one"):
        reopen(account)
    account.refresh_from_db()
    assert account.state == "closed"


def test_erasing_releases_the_external_id_at_once(account, pro_account):
    close_and_erase(account, actor=ACTOR)
    close_and_erase(account, actor=ACTOR)
    account.refresh_from_db()
    assert (account.external_id, account.former_external_id) == (None, "acme") and account.erased_at
    set_(pro_account, external_id="acme")


def test_erasing_takes_the_names_of_revoked_management_keys_too_and_not_when_they_ended(account):
    revoked, _ = make_management_key(account, name="of Jane Doe", scopes=["keys:read"], actor=ACTOR)
    make_management_key(account, name="of John Doe", scopes=["keys:read"], actor=ACTOR)
    revoke_credential(revoked, actor=ACTOR)
    ended = revoked.revoked_at
    close_and_erase(account, actor=ACTOR)
    assert set(ManagementKey.objects.values_list("name", flat=True)) == {"erased"}
    assert not ManagementKey.objects.filter(revoked_at=None).exists()
    revoked.refresh_from_db()
    assert revoked.revoked_at == ended


def test_a_customer_who_comes_back_after_erasing_gets_a_new_account(account):
    close_and_erase(account, actor=ACTOR)
    gone, was_made, _ = put_account("acme", AccountEdit(name="Acme", status="closed"), actor=ACTOR)
    assert gone.pk == account.pk and gone.state == "closed" and not was_made
    back, was_made, _ = put_account("acme", AccountEdit(name="Acme", status="active"), actor=ACTOR)
    assert was_made and back.pk != account.pk and (back.external_id, back.state) == ("acme", "active")
    account.refresh_from_db()
    assert (account.external_id, account.former_external_id) == (None, "acme")
    assert account.name == f"closed {account.public_id}"


@pytest.mark.django_db(transaction=True)
def test_a_suspended_account_that_is_erased_was_closed(account, issued):
    suspend_account(account, actor=ACTOR)
    close_and_erase(account, actor=ACTOR)
    close_and_erase(account, actor=ACTOR)
    assert AuditEvent.objects.filter(act="account.close", account=account.public_id).count() == 1


def test_of_a_customer_who_was_erased_twice_the_last_account_is_closed_again(account):
    close_and_erase(account, actor=ACTOR)
    back, _, _ = put_account("acme", AccountEdit(), actor=ACTOR)
    close_and_erase(back, actor=ACTOR)
    assert put_account("acme", AccountEdit(status="closed"), actor=ACTOR)[0].pk == back.pk


@pytest.mark.parametrize(
    "act",
    [
        lambda account: rename_account(account, "Jane Doe", actor=ACTOR),
        lambda account: set_(account, name="Jane Doe"),
        lambda account: set_(account, name="Jane Doe", status="active"),
        lambda account: call_account_by(account, "jane", actor=ACTOR),
        lambda account: set_(account, external_id="jane"),
    ],
)
def test_no_name_comes_back_into_an_erased_account(account, act):
    close_and_erase(account, actor=ACTOR)
    with pytest.raises(Refused):
        act(account)
    assert "ane" not in str(Account.objects.values_list("name", "external_id"))


def test_nobody_can_take_the_name_of_an_erased_account(account):
    with pytest.raises(ValidationError, match="Erased accounts have names like this"):
        rename_account(account, f"closed {account.public_id}", actor=ACTOR)


# What was right once


def test_an_override_that_stays_is_not_checked_again(account, catalogue):
    """The plan's limit of that name may be gone, which must not stand in the way of any other change."""
    override_limit(account, "minute", 7, actor=ACTOR)
    catalogue(CATALOGUE.replace('name = "minute"', 'name = "calls"'))
    override_limit(account, "month", 500, actor=ACTOR)
    with pytest.raises(ValidationError, match="has no limit minute"):
        override_limit(account, "minute", 8, actor=ACTOR)
    assert {row.limit_name: row.amount for row in account.overrides.all()} == {"minute": 7, "month": 500}


def test_whoever_has_more_overrides_than_are_allowed_by_now_can_change_and_remove_them(account, monkeypatch):
    set_(account, overrides={"minute": OverrideAmount(7), "month": OverrideAmount(500)})
    monkeypatch.setattr(caps, "MOST_OVERRIDES", 1)
    override_limit(account, "minute", 8, actor=ACTOR)
    override_limit(account, "month", None, actor=ACTOR)
    assert [row.amount for row in account.overrides.all()] == [8]


def test_an_override_without_a_burst_has_the_plans_when_it_is_checked(account, dearer):
    """The plan's burst has room for a call that the new amount alone has not."""
    plan = Plan.objects.get(name="free")
    models_base(PlanLimit).filter(plan=plan, name="minute").update(unit="units")
    dearer("sm", 9)
    override_limit(account, "minute", 5, actor=ACTOR)
    with pytest.raises(ValidationError, match="never fits"):
        override_limit(account, "minute", 5, burst=8, actor=ACTOR)


@pytest.mark.parametrize("wanted", [{"max_keys": -1}, {"max_keys": 1_000_001}])
def test_what_a_new_account_gets_at_once_is_validated(catalogue, wanted):
    with pytest.raises(ValidationError):
        put_account("cus_1", AccountEdit(**wanted), actor=ACTOR)
    assert not Account.objects.exists()


# Two at once


@pytest.mark.parametrize("noticed_by", ["validation", "the database"])
def test_an_account_that_was_made_a_moment_ago_is_changed_instead(account, monkeypatch, noticed_by):
    looks = iter([lambda _: None, provisioning._known_by])

    def known_by(name: str) -> Account | None:
        return next(looks)(name)

    monkeypatch.setattr(provisioning, "_known_by", known_by)
    if noticed_by == "the database":
        monkeypatch.setattr(Account, "full_clean", lambda *_, **__: None)
    found, was_made, _ = put_account("acme", AccountEdit(plan="pro"), actor=ACTOR)
    assert (found, was_made, found.plan.name) == (account, False, "pro")


# Ids and names


def test_an_account_may_be_called_by_its_own_id_and_by_no_other(account, pro_account):
    call_account_by(account, account.public_id, actor=ACTOR)
    account.refresh_from_db()
    assert account.external_id == account.public_id
    with pytest.raises(ValidationError, match="already has the id"):
        call_account_by(pro_account, account.public_id, actor=ACTOR)


def test_of_several_that_had_the_external_id_the_last_one_was_closed(account):
    for _ in range(2):
        close_and_erase(put_account("acme", AccountEdit(status="active"), actor=ACTOR)[0], actor=ACTOR)
    found, _, _ = put_account("acme", AccountEdit(status="closed"), actor=ACTOR)
    assert found == Account.objects.order_by("pk").last() != account


@pytest.mark.parametrize("name", ["closed {id}", " closed {id}", "closed {id}\t"])
def test_no_blanks_around_it_make_the_name_of_an_erased_account_a_different_one(account, name):
    with pytest.raises(ValidationError, match="Erased accounts have names like this"):
        rename_account(account, name.format(id=account.public_id), actor=ACTOR)


# What erasing leaves


def test_erasing_forgets_who_made_a_management_key_and_not_when_it_was_revoked(account):
    mara = User.objects.create_user("mara")
    actor = Actor("mara", user=User.objects.create_superuser("root"))
    first, second = (
        make_management_key(account, name=mara.username, scopes=["keys:read"], actor=actor)[0] for _ in "ab"
    )
    revoke_credential(first, actor=ACTOR)
    moment = ManagementKey.objects.get(pk=first.pk).revoked_at
    close_and_erase(account, actor=ACTOR)
    for row in (first, second):
        row.refresh_from_db()
        assert (row.name, row.created_by) == ("erased", None) and row.revoked_at is not None
    assert first.revoked_at == moment


def test_erasing_forgets_who_made_a_key_and_what_it_was_for(account):
    actor = Actor("mara", user=User.objects.create_user("mara"))
    key = issue_key(account, name="mara's", metadata={"of": "mara"}, actor=actor).key
    close_and_erase(account, actor=ACTOR)
    key.refresh_from_db()
    assert (key.name, key.metadata, key.created_by) == ("erased", {}, None)


def test_erasing_twice_keeps_the_times_of_the_first(account):
    close_and_erase(account, actor=ACTOR)
    account.refresh_from_db()
    before = account.closed_at, account.erased_at
    close_and_erase(account, actor=ACTOR)
    account.refresh_from_db()
    assert (account.closed_at, account.erased_at) == before


@pytest.mark.django_db(transaction=True)
def test_an_erasing_that_is_repeated_is_published_again(account, redis_db):
    close_and_erase(account, actor=ACTOR)
    redis_db.delete(names.account(account.public_id))
    assert not close_and_erase(account, actor=ACTOR).is_pending
    assert '"state":"closed"' in redis_db.hget(names.account(account.public_id), names.FACTS)
