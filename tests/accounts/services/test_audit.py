"""Every service records exactly one act in the audit log: who, from where, what, on what, in which account."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

import accounts
from accounts.facts.publish import models_base
from accounts.imports import reading
from accounts.imports.jobs import receive
from accounts.models import Account, ApiKey, AuditEvent, User
from accounts.services import accounts as account_services
from accounts.services import catalogue, credentials, invitations, keys, members, people, provisioning, roles
from accounts.services.accounts import AccountEdit, OverrideAmount
from accounts.services.acts import Actor
from accounts.services.closing import close_and_erase
from quotas.models import Plan, ServedModel
from tests.conftest import ACTOR as TESTS

OLGA = Actor("olga", "192.0.2.7")


class World:
    """The objects of acts: an account with a key, people, credentials and an invitation."""

    def __init__(self, account: Account, key: ApiKey) -> None:
        self.account, self.key = account, key
        self.pro = Plan.objects.get(name="pro")
        self.user = User.objects.create_user("mara", email="mara@example.org")
        self.somebody = User.objects.create_user("nina")
        roles.set_role(account, self.somebody, "viewer", actor=TESTS)
        self.member = account.memberships.get()
        self.management_key = credentials.make_management_key(account, name="m", scopes=["keys:read"], actor=TESTS)[0]
        self.token = credentials.make_operator_token(name="o", scopes=["keys:write"], actor=TESTS)[0]
        self.invitation = invitations.invite(account, email="guest@example.org", role="member", actor=TESTS)
        keys.rotate_key(key, grace=timedelta(days=1), actor=TESTS)
        provisioning.put_account("cus_1", AccountEdit(), actor=TESTS)


class Row(NamedTuple):
    """A service: how it is called, the act that is written down, of what and in which account. What the service
    returned is handed on as `made`."""

    call: Callable[[World], Any]
    act: str
    subject: Callable[[World, Any], str]
    account: Callable[[World, Any], str]


def of_account(world: World, made: Any) -> str:
    return str(world.account.public_id)


def of_none(world: World, made: Any) -> str:
    return ""


def of_key(world: World, made: Any) -> str:
    return world.key.public_id


def of_invitation(world: World, made: Any) -> str:
    return world.invitation.public_id


def made_first(world: World, made: Any) -> str:
    return str(made[0].public_id)


def change_title() -> list[str]:
    models_base(ServedModel).filter(slug="sm").update(title="new")
    return ["model sm: title"]


LINES = ["name,key\n", "old,of-another-system-00\n"]

SERVICES: dict[str, Row] = {
    "accounts.create_account": Row(
        lambda w: account_services.create_account("new", w.pro, actor=OLGA),
        "account.create",
        made_first,
        made_first,
    ),
    "accounts.move_account": Row(
        lambda w: account_services.move_account(w.account, w.pro, actor=OLGA),
        "account.move",
        of_account,
        of_account,
    ),
    "accounts.suspend_account": Row(
        lambda w: account_services.suspend_account(w.account, actor=OLGA),
        "account.suspend",
        of_account,
        of_account,
    ),
    "accounts.resume_account": Row(
        lambda w: account_services.resume_account(w.account, actor=OLGA),
        "account.resume",
        of_account,
        of_account,
    ),
    "accounts.close_account": Row(
        lambda w: account_services.close_account(w.account, actor=OLGA),
        "account.close",
        of_account,
        of_account,
    ),
    "accounts.reopen_account": Row(
        lambda w: account_services.reopen_account(w.account, actor=OLGA),
        "account.reopen",
        of_account,
        of_account,
    ),
    "accounts.call_account_by": Row(
        lambda w: account_services.call_account_by(w.account, "cus_9", actor=OLGA),
        "account.external_id",
        of_account,
        of_account,
    ),
    "accounts.cap_keys": Row(
        lambda w: account_services.cap_keys(w.account, 7, actor=OLGA),
        "account.cap_keys",
        of_account,
        of_account,
    ),
    "accounts.rename_account": Row(
        lambda w: account_services.rename_account(w.account, "other", actor=OLGA),
        "account.rename",
        of_account,
        of_account,
    ),
    "accounts.override_limits": Row(
        lambda w: account_services.override_limits(w.account, {"month": OverrideAmount(7)}, actor=OLGA),
        "account.override",
        of_account,
        of_account,
    ),
    "accounts.override_limit": Row(
        lambda w: account_services.override_limit(w.account, "month", 7, actor=OLGA),
        "account.override",
        of_account,
        of_account,
    ),
    "roles.set_role": Row(
        lambda w: roles.set_role(w.account, w.user, "member", actor=OLGA),
        "account.member",
        of_account,
        of_account,
    ),
    "roles.create_first_operator": Row(
        lambda w: roles.create_first_operator(
            username="olga", email="o@example.org", password="x", address="192.0.2.7"
        ),
        "user.first_operator",
        lambda w, made: "olga",
        of_none,
    ),
    "keys.issue_key": Row(
        lambda w: keys.issue_key(w.account, name="k", actor=OLGA),
        "key.issue",
        lambda w, made: made.key.public_id,
        of_account,
    ),
    "keys.change_key": Row(
        lambda w: keys.change_key(w.key, name="k", actor=OLGA),
        "key.change",
        of_key,
        of_account,
    ),
    "keys.rotate_key": Row(
        lambda w: keys.rotate_key(w.key, grace=timedelta(0), actor=OLGA),
        "key.rotate",
        of_key,
        of_account,
    ),
    "keys.end_rotation": Row(
        lambda w: keys.end_rotation(w.key, actor=OLGA),
        "key.end_rotation",
        of_key,
        of_account,
    ),
    "keys.pause_key": Row(
        lambda w: keys.pause_key(w.key, actor=OLGA),
        "key.pause",
        of_key,
        of_account,
    ),
    "keys.resume_key": Row(
        lambda w: keys.resume_key(w.key, actor=OLGA),
        "key.resume",
        of_key,
        of_account,
    ),
    "keys.revoke_key": Row(
        lambda w: keys.revoke_key(w.key, actor=OLGA),
        "key.revoke",
        of_key,
        of_account,
    ),
    "catalogue.change_catalogue": Row(
        lambda w: catalogue.change_catalogue(change_title, actor=OLGA),
        "catalogue.change",
        lambda w, made: "catalogue",
        of_none,
    ),
    "members.change_member": Row(
        lambda w: members.change_member(w.member, "admin", actor=OLGA),
        "account.member",
        of_account,
        of_account,
    ),
    "members.put_member": Row(
        lambda w: members.put_member(w.account, w.user, "owner", actor=OLGA),
        "account.member",
        of_account,
        of_account,
    ),
    "credentials.make_management_key": Row(
        lambda w: credentials.make_management_key(w.account, name="m", scopes=["keys:read"], actor=OLGA),
        "management_key.issue",
        made_first,
        of_account,
    ),
    "credentials.make_operator_token": Row(
        lambda w: credentials.make_operator_token(name="o", scopes=["keys:write"], actor=OLGA),
        "operator_token.issue",
        made_first,
        of_none,
    ),
    "credentials.revoke_credential": Row(
        lambda w: credentials.revoke_credential(w.management_key, actor=OLGA),
        "management_key.revoke",
        lambda w, made: w.management_key.public_id,
        of_account,
    ),
    "credentials.revoke_credential (a token)": Row(
        lambda w: credentials.revoke_credential(w.token, actor=OLGA),
        "operator_token.revoke",
        lambda w, made: w.token.public_id,
        of_none,
    ),
    "invitations.invite": Row(
        lambda w: invitations.invite(w.account, email="new@example.org", role="member", actor=OLGA),
        "invitation.create",
        lambda w, made: made.public_id,
        of_account,
    ),
    "invitations.resend": Row(
        lambda w: invitations.resend(w.invitation, actor=OLGA),
        "invitation.resend",
        of_invitation,
        of_account,
    ),
    "invitations.withdraw": Row(
        lambda w: invitations.withdraw(w.invitation, actor=OLGA),
        "invitation.withdraw",
        of_invitation,
        of_account,
    ),
    "invitations.accept": Row(
        lambda w: invitations.accept(w.invitation, w.somebody, actor=OLGA),
        "invitation.accept",
        of_invitation,
        of_account,
    ),
    "people.choose_language": Row(
        lambda w: people.choose_language(w.user, "fr", actor=OLGA),
        "user.language_change",
        lambda w, made: "mara",
        of_none,
    ),
    "closing.close_and_erase": Row(
        lambda w: close_and_erase(w.account, actor=OLGA),
        "account.close",
        of_account,
        of_account,
    ),
    "provisioning.put_account": Row(
        lambda w: provisioning.put_account("cus_2", AccountEdit(), actor=OLGA),
        "account.create",
        made_first,
        made_first,
    ),
    "provisioning.put_account (again)": Row(
        lambda w: provisioning.put_account("cus_1", AccountEdit(plan="pro"), actor=OLGA),
        "account.move",
        made_first,
        made_first,
    ),
    "accounts.change_account": Row(
        lambda w: account_services.change_account(w.account, AccountEdit(status="suspended"), actor=OLGA),
        "account.suspend",
        of_account,
        of_account,
    ),
    "reading.import_lines": Row(
        lambda w: reading.import_lines(list(reading.read_lines(LINES)), actor=OLGA, account=w.account),  # type: ignore[arg-type]
        "key.import",
        lambda w, made: made[0][0].key,
        of_account,
    ),
    "jobs.receive": Row(
        lambda w: receive(LINES, actor=OLGA, account=w.account, dry_run=False),
        "import.receive",
        lambda w, made: made.public_id,
        of_account,
    ),
}

# They call a service from the table, or record what a different one did.
OTHERS = {
    "acts.record_act",
    "record.record_change",
    "outgrown.settle",
    "authority.check_role",
    "authority.check_scopes",
    "authority.authority_of",
}


def is_told_who(parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Whether the actor is passed, or, for the first operator, who is nobody yet, a name and an address."""
    return "actor" in parameters or {"username", "address"} <= set(parameters)


def services_of_the_code() -> set[str]:
    """Every public function that is told who is acting."""
    found = set()
    for module in pkgutil.walk_packages(accounts.__path__, "accounts."):
        if module.ispkg or re.match(r"accounts\.(admin|management|migrations)\.", module.name):
            continue
        loaded = importlib.import_module(module.name)
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            is_ours = function.__module__ == loaded.__name__ and not name.startswith("_")
            if is_ours and is_told_who(inspect.signature(function).parameters):
                found.add(f"{module.name.rpartition('.')[2]}.{name}")
    return found


def test_the_table_lists_every_service():
    assert services_of_the_code() - OTHERS == {name.partition(" ")[0] for name in SERVICES}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_records_exactly_one_act_with_actor_address_subject_and_account(account, issued, name):
    row, world = SERVICES[name], World(account, issued.key)
    if name == "accounts.resume_account":
        account_services.suspend_account(account, actor=TESTS)
    if name == "keys.resume_key":
        keys.pause_key(issued.key, actor=TESTS)
    if name == "accounts.reopen_account":
        account_services.close_account(account, actor=TESTS)
    before = list(AuditEvent.objects.values_list("pk", flat=True))
    made = row.call(world)
    (event,) = AuditEvent.objects.exclude(pk__in=before)
    assert (event.actor, event.address, event.act) == ("olga", "192.0.2.7", row.act)
    assert (event.subject, event.account) == (row.subject(world, made), row.account(world, made))


@pytest.mark.parametrize("name", ["closing.close_and_erase", "keys.revoke_key", "credentials.revoke_credential"])
def test_a_repeated_act_is_recorded_once(account, issued, name):
    row, world = SERVICES[name], World(account, issued.key)
    row.call(world)
    count = AuditEvent.objects.count()
    row.call(world)
    assert AuditEvent.objects.count() == count
