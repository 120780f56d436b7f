"""Nobody gives more than they have: scopes, roles, and lifetimes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.core import mail
from django.utils import timezone

from accounts.authority import Beyond
from accounts.models import Invitation, ManagementKey, Membership, OperatorToken, User
from accounts.services.acts import Actor
from accounts.services.credentials import make_management_key, make_operator_token
from accounts.services.invitations import invite, resend
from accounts.services.outgrown import settle
from tests.api.callers import bearer, member_of, operator, post, program_of, signed_in
from tests.conftest import ACTOR

KEYS = "/api/v1/management-keys/"


def staff(*permissions: str, name: str = "clerk") -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def make(client, account, *scopes, once=None, **more):
    return post(client, KEYS, once=once, account=account.public_id, name="k", scopes=list(scopes), **more)


# Scopes.


@pytest.mark.parametrize(
    ("held", "missing", "scope"),
    [
        (("keys:write",), "accounts:write", "members:write"),
        (("keys:write",), "usage:read", "usage:read"),
        (("keys:write", "usage:read"), "accounts:write", "members:write"),
        (("keys:write", "accounts:write"), "usage:read", "usage:read"),
    ],
)
def test_a_token_cannot_create_a_key_with_more_scopes_than_its_own_and_is_told_which(account, held, missing, scope):
    answer = make(operator(*held), account, "keys:read", scope)
    assert answer.status_code == 403 and f'scope="{missing}"' in answer["WWW-Authenticate"]
    assert missing in answer.json()["detail"] and not ManagementKey.objects.exists()


@pytest.mark.parametrize(
    ("held", "scopes"),
    [
        (("keys:write",), ["keys:read", "keys:write"]),
        (("keys:write", "usage:read"), ["keys:read", "usage:read"]),
        (("keys:write", "accounts:write", "usage:read"), ["keys:read", "keys:write", "usage:read", "members:write"]),
    ],
)
def test_a_token_can_create_a_key_with_its_own_scopes(account, held, scopes):
    answer = make(operator(*held), account, *scopes)
    assert answer.status_code == 201 and answer.json()["scopes"] == scopes


def test_staff_cannot_create_a_key_with_scopes_beyond_their_permissions(account):
    clerk = signed_in(staff("change_apikey"))
    refused = make(clerk, account, "members:write")
    assert refused.status_code == 403 and "accounts:write" in refused.json()["detail"]
    assert make(clerk, account, "keys:write").status_code == 201


def test_staff_may_also_give_what_their_role_in_the_account_allows(account):
    clerk = staff("change_apikey")
    Membership.objects.create(account=account, user=clerk, role="admin")
    assert make(signed_in(clerk), account, "members:write", "usage:read").status_code == 201


def test_staff_have_the_scopes_that_theirs_include(db):
    assert signed_in(staff("change_apikey")).get("/api/v1/me/").json()["scopes"] == ["keys:read", "keys:write"]


def test_an_answer_is_not_repeated_to_somebody_who_may_no_longer_create_the_key(account):
    clerk = staff("change_apikey", "change_account")
    first = make(signed_in(clerk), account, "members:write", once="one")
    clerk.user_permissions.remove(Permission.objects.get(codename="change_account"))
    again = make(signed_in(clerk), account, "members:write", once="one")
    assert (first.status_code, again.status_code) == (201, 403) and "key" not in again.json()


def test_the_role_is_checked_again_when_the_key_is_created(account):
    """An admin loses the role while the request is being processed."""
    member_of(account, "admin", "adam")
    adam = User.objects.get(username="adam")
    Membership.objects.filter(user=adam).delete()
    with pytest.raises(Beyond):
        make_management_key(account, name="k", scopes=["keys:read"], actor=Actor("adam", user=adam))


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_whoever_is_deactivated_meanwhile_creates_nothing_and_keeps_nothing_that_may_more(account, role):
    """An operator deactivates the person while the request is being processed."""
    member_of(account, role, "olga")
    olga = User.objects.get(username="olga")
    make_management_key(account, name="before", scopes=["keys:read"], actor=Actor("olga", user=olga))
    User.objects.filter(pk=olga.pk).update(is_active=False)
    with pytest.raises(Beyond):
        make_management_key(account, name="k", scopes=["keys:read"], actor=Actor("olga", user=olga))
    with pytest.raises(Beyond):
        invite(account, email="new@example.com", role="member", actor=Actor("olga", user=olga))
    settle(olga, actor=ACTOR)
    assert not ManagementKey.objects.active().exists()


@pytest.mark.parametrize("who", ["staff", "token", "superuser who may not sign in"])
def test_only_a_superuser_can_create_an_operator_token(account, who):
    if who == "token":
        row = make_operator_token(name="o", scopes=["keys:write"], actor=ACTOR)[0]
        actor = Actor("operator token", credential=row)
    elif who == "staff":
        actor = Actor("clerk", user=staff("change_apikey", "add_operatortoken"))
    else:
        actor = Actor("root", user=User.objects.create_superuser("root", is_active=False))
    before = OperatorToken.objects.count()
    with pytest.raises(Beyond):
        make_operator_token(name="k", scopes=["keys:write"], actor=actor)
    assert OperatorToken.objects.count() == before


# Time.


def expiring(account, days: float):
    row, text = make_operator_token(
        name="o", scopes=["keys:write"], actor=ACTOR, expires_at=timezone.now() + timedelta(days=days)
    )
    return row, bearer(text)


def test_what_a_credential_creates_expires_no_later_than_it(account):
    token, client = expiring(account, 2)
    assert make(client, account, "keys:read").status_code == 201
    assert ManagementKey.objects.get().expires_at == token.expires_at
    sooner = (timezone.now() + timedelta(days=1)).isoformat()
    assert make(client, account, "keys:read", expires_at=sooner).status_code == 201


def test_an_expiry_later_than_the_creators_is_refused_with_a_reason(account):
    _, client = expiring(account, 2)
    answer = make(client, account, "keys:read", expires_at=(timezone.now() + timedelta(days=3)).isoformat())
    (error,) = answer.json()["errors"]
    assert answer.status_code == 400 and error["field"] == "expires_at" and "no later than" in error["detail"]


# Who created it.


def test_a_key_shows_who_created_it_and_with_what(account):
    adam = member_of(account, "admin", "adam")
    token, text = make_operator_token(name="o", scopes=["keys:write"], actor=ACTOR)
    by_adam, by_token = make(adam, account, "keys:write").json(), make(bearer(text), account, "keys:read").json()
    assert (by_adam["created_by"], by_adam["made_with"]) == ("adam", None)
    assert (by_token["created_by"], by_token["made_with"]) == (None, token.public_id)
    issued = post(bearer(by_adam["key"]), "/api/v1/keys/", name="k").json()
    assert (issued["created_by"], issued["made_with"]) == (None, by_adam["id"])
    shown = adam.get(f"{KEYS}?account={account.public_id}").json()["results"]
    assert {row["id"]: row["created_by"] for row in shown} == {by_adam["id"]: "adam", by_token["id"]: None}


# Roles: tests/api/test_roles.py tests who may give which.


@pytest.mark.parametrize("role", ["admin", "owner"])
def test_a_program_can_neither_invite_to_nor_resend_a_role_that_it_may_not_give(account, role):
    place = f"/api/v1/accounts/{account.public_id}/invitations/"
    row = invite(account, email="boss@example.org", role=role, actor=ACTOR)
    for machine in (program_of(account, "members:write"), operator("accounts:write")):
        answer = post(machine, place, email="x@example.org", role=role)
        assert answer.status_code == 403
        assert machine.post(f"{place}{row.public_id}/resend/").status_code == 403
    assert Invitation.objects.count() == len(mail.outbox) == 1


def test_a_program_can_invite_members_and_viewers(account):
    place = f"/api/v1/accounts/{account.public_id}/invitations/"
    for role in ("member", "viewer"):
        answer = post(program_of(account, "members:write"), place, email=f"{role}@example.org", role=role)
        assert answer.status_code == 201, answer.json()


def test_staff_who_may_do_everything_an_owner_may_can_make_owners_and_others_members(account):
    place = f"/api/v1/accounts/{account.public_id}/members/"
    User.objects.create_user("nina")
    few = signed_in(staff("change_account"))
    all_ = signed_in(staff("change_account", "change_apikey", "view_usagehour", name="chief"))
    assert [post(few, place, username="nina", role=role).status_code for role in ("owner", "admin", "member")] == [
        403,
        403,
        201,
    ]
    assert post(all_, place, username="nina", role="owner").status_code == 201


def test_staff_cannot_make_themselves_owners(account):
    clerk = signed_in(staff("change_account"))
    place = f"/api/v1/accounts/{account.public_id}/members/"
    assert post(clerk, place, username="clerk", role="owner").status_code == 403
    assert not Membership.objects.exists()


def test_resending_an_invitation_makes_one_responsible_for_it(account):
    member_of(account, "admin", "adam")
    olga = member_of(account, "owner", "olga")
    row = invite(account, email="x@example.org", role="member", actor=ACTOR)
    olga.post(f"/api/v1/accounts/{account.public_id}/invitations/{row.public_id}/resend/")
    row.refresh_from_db()
    assert row.invited_by == "olga" and str(row.created_by) == "olga"
    with pytest.raises(Beyond):
        resend(row, actor=Actor("vera", user=User.objects.create_user("vera")))
