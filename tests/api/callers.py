"""Every kind of caller as a client: people by role, management keys and operators by scope."""

from __future__ import annotations

from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import Account, User
from accounts.services.credentials import (
    MANAGEMENT_SCOPES,
    OPERATOR_SCOPES,
    make_management_key,
    make_operator_token,
    revoke_credential,
)
from accounts.services.keys import issue_key
from accounts.services.roles import set_role
from store import names
from store.throttles import Throttle
from tests.conftest import ACTOR

ROLES = ("viewer", "member", "admin", "owner")


def bearer(text: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {text}"}, REMOTE_ADDR="192.0.2.7")


def signed_in(user: User) -> Client:
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(user)
    return client


def member_of(account: Account, role: str, name: str | None = None) -> Client:
    """A browser that is signed in as a new member with this role."""
    user = User.objects.create_user(name or role, email=f"{name or role}@example.org")
    set_role(account, user, role, actor=ACTOR)
    return signed_in(user)


def program_of(account: Account, *scopes: str) -> Client:
    return bearer(make_management_key(account, name=" ".join(scopes), scopes=scopes, actor=ACTOR)[1])


def operator(*scopes: str) -> Client:
    return bearer(make_operator_token(name=" ".join(scopes), scopes=scopes, actor=ACTOR)[1])


def post(client, url, once=None, **body):
    headers = {"Idempotency-Key": once} if once else None
    return client.post(url, body, content_type="application/json", headers=headers)


def fill(redis_db, throttle: Throttle, who: str) -> None:
    """Use up a throttle and far more than that, so that a slow test does not find room in it again."""
    seconds, _ = redis_db.time()
    redis_db.set(names.throttle(throttle.name, who), (seconds + 2 * throttle.seconds) * 1_000_000)


def everybody(account: Account, other: Account) -> dict[str, Client]:
    """One of each kind, by name. Those named for another account belong to `other`, the rest to `account` or to none."""
    staff = User.objects.create_user("clerk", is_staff=True)
    keys_clerk = User.objects.create_user("keys clerk", is_staff=True)
    keys_clerk.user_permissions.add(Permission.objects.get(codename="change_apikey"))
    root = User.objects.create_user("root", is_staff=True, is_superuser=True)
    revoked, text = make_management_key(account, name="gone", scopes=MANAGEMENT_SCOPES, actor=ACTOR)
    revoke_credential(revoked, actor=ACTOR)
    return {
        "nobody": Client(),
        **{role: member_of(account, role) for role in ROLES},
        "stranger": member_of(other, "owner", "stranger"),
        "staff without permissions": signed_in(staff),
        "staff for keys": signed_in(keys_clerk),
        "superuser": signed_in(root),
        **{f"program {scope}": program_of(account, scope) for scope in MANAGEMENT_SCOPES},
        "program of another account": program_of(other, *MANAGEMENT_SCOPES),
        "program, revoked": bearer(text),
        **{f"operator {scope}": operator(scope) for scope in OPERATOR_SCOPES},
        "key for models": bearer(issue_key(account, name="models", actor=ACTOR).text),
    }
