"""People, groups and roles in the admin: nobody can edit a user whom they don't outrank, and all of it is recorded."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.urls import reverse

from accounts.authority import outranks
from accounts.models import AuditEvent, Invitation, ManagementKey, Membership, OperatorToken, User
from accounts.services.acts import Actor
from accounts.services.credentials import make_management_key, make_operator_token
from accounts.services.keys import issue_key
from accounts.services.roles import set_role
from tests.accounts.forms import posted, send
from tests.api.callers import signed_in
from tests.conftest import ACTOR

PASSWORD = "a long pass phrase"
USERS = "/admin/accounts/user/"


def permissions(*names: str):
    return Permission.objects.filter(codename__in=names)


def staff(name: str, *names: str) -> User:
    user = User.objects.create_user(name, email=f"{name}@example.org", password="x", is_staff=True)
    user.user_permissions.set(permissions(*names))
    return user


@pytest.fixture
def root(db):
    return User.objects.create_superuser("root", password="x")


@pytest.fixture
def clerk(db):
    """Staff with permissions for users only."""
    return staff("clerk", "view_user", "add_user", "change_user", "delete_user")


def page(user, what="change"):
    return (
        reverse("admin:auth_user_password_change", args=[user.pk])
        if what == "password"
        else f"{USERS}{user.pk}/{what}/"
    )


def events(act):
    return list(AuditEvent.objects.filter(act=act).order_by("id"))


STRONGER = {
    "a superuser": lambda: User.objects.create_superuser("other", password="x"),
    "staff with another permission": lambda: staff("other", "view_apikey"),
    "staff with more permissions": lambda: staff(
        "other", "view_user", "add_user", "change_user", "delete_user", "add_apikey"
    ),
    "staff with the same permissions": lambda: staff("other", "view_user", "add_user", "change_user", "delete_user"),
    "staff by a group": lambda: in_group(staff("other"), "change_apikey"),
    "staff who are not active": lambda: inactive(staff("other", "change_apikey")),
    "somebody who was staff": lambda: no_staff(staff("other", "change_apikey")),
}


def in_group(user: User, *names: str) -> User:
    group = Group.objects.create(name="keys")
    group.permissions.set(permissions(*names))
    user.groups.add(group)
    return user


def inactive(user: User) -> User:
    user.is_active = False
    user.save()
    return user


def no_staff(user: User) -> User:
    user.is_staff = False
    user.save()
    return user


@pytest.mark.parametrize("who", STRONGER)
def test_nobody_can_edit_a_user_whom_they_do_not_outrank(clerk, who):
    other, client = STRONGER[who](), signed_in(clerk)
    before = User.objects.filter(pk=other.pk).values().get()
    password = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert client.post(page(other, "password"), password).status_code == 403
    assert client.post(page(other), {"username": "x", "email": "x@example.org"}).status_code == 403
    assert client.post(page(other, "delete"), {"post": "yes"}).status_code == 403
    assert client.get(page(other, "history")).status_code == 403
    client.post(USERS, {"action": "delete_selected", "_selected_action": [other.pk], "post": "yes"})
    assert User.objects.filter(pk=other.pk).values().get() == before and not AuditEvent.objects.exists()


@pytest.mark.parametrize("role", Membership.Role.values)
def test_staff_without_a_customers_rights_cannot_become_that_customer(clerk, account, role):
    mara = User.objects.create_user("mara")
    set_role(account, mara, role, actor=ACTOR)
    assert signed_in(clerk).get(page(mara, "password")).status_code == 403
    assert outranks(staff("chief", "change_user", "change_account", "change_apikey", "view_usagehour"), mara)


def test_staff_can_edit_a_customer_without_rights(clerk):
    mara = User.objects.create_user("mara")
    client = signed_in(clerk)
    send(client, page(mara), email="new@example.org")
    send(client, page(mara, "password"), password1=PASSWORD, password2=PASSWORD, usable_password="true")
    mara.refresh_from_db()
    assert mara.email == "new@example.org" and mara.check_password(PASSWORD)
    assert client.post(page(mara, "delete"), {"post": "yes"}).status_code == 302


def test_permission_to_change_users_grants_nobody_rights(clerk):
    client, group = signed_in(clerk), Group.objects.create(name="keys")
    group.permissions.set(permissions("change_apikey"))
    more = {
        "is_staff": "on",
        "is_superuser": "on",
        "groups": [group.pk],
        "user_permissions": [permissions("change_apikey").get().pk],
    }
    send(client, page(clerk), first_name="Carl", **more)
    send(client, f"{USERS}add/", username="newcomer", password1=PASSWORD, password2=PASSWORD, **more)
    send(client, page(User.objects.get(username="newcomer")), **more)
    for user in User.objects.filter(username__in=["clerk", "newcomer"]):
        assert not user.is_superuser and not user.groups.exists()
        assert not user.user_permissions.filter(codename="change_apikey").exists()
    assert User.objects.get(username="clerk").first_name == "Carl"
    assert not User.objects.get(username="newcomer").is_staff


def test_superusers_can_edit_superusers(root):
    other = User.objects.create_superuser("other", password="x")
    send(signed_in(root), page(other), is_superuser=None)
    other.refresh_from_db()
    assert not other.is_superuser


def test_staff_with_view_permissions_see_no_password_digest(root):
    root.set_password(PASSWORD)
    root.save()
    looker = signed_in(staff("vera", "view_user"))
    shown = looker.get(page(root)).content.decode()
    assert "root" in shown and root.password.rsplit("$", 1)[1] not in shown
    assert looker.get(USERS, {"password__startswith": root.password[:10]}).status_code == 400


# Groups.


def test_only_superusers_can_change_groups(db):
    clerk = in_group(staff("clerk"), "view_group", "add_group", "change_group", "delete_group")
    group, client = clerk.groups.get(), signed_in(clerk)
    every = list(Permission.objects.values_list("pk", flat=True))
    for url in (f"/admin/auth/group/{group.pk}/change/", "/admin/auth/group/add/"):
        assert client.post(url, {"name": "all", "permissions": every}).status_code == 403
    assert client.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post("/admin/auth/group/", {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"})
    assert Group.objects.get().permissions.count() == 4 and not AuditEvent.objects.exists()


def test_creating_changing_and_deleting_a_group_is_recorded(root):
    client, (right,) = signed_in(root), permissions("change_apikey")
    send(client, "/admin/auth/group/add/", name="keys", permissions=[right.pk])
    group = Group.objects.get()
    root.groups.add(group)
    send(client, f"/admin/auth/group/{group.pk}/change/", permissions=None)
    client.post("/admin/auth/group/", {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"})
    made, changed, gone = (events(f"group.{act}") for act in ("create", "change", "delete"))
    assert [event.after["permissions"] for event in made] == [["accounts.change_apikey"]]
    assert [event.before["permissions"] for event in changed] == [["accounts.change_apikey"]]
    assert [event.after["permissions"] for event in changed] == [[]]
    assert [event.before["people"] for event in gone] == [["root"]]
    assert {(event.actor, event.address, event.subject) for event in (*made, *changed, *gone)} == {
        ("root", "192.0.2.7", "keys")
    }


# What is recorded about people.


def test_every_change_of_a_person_is_recorded_without_the_password(root):
    client = signed_in(root)
    send(client, f"{USERS}add/", username="mara", password1=PASSWORD, password2=PASSWORD, usable_password="true")
    mara = User.objects.get(username="mara")
    send(client, page(mara), email="new@example.org", is_staff="on")
    send(client, page(mara, "password"), password1=PASSWORD + "!", password2=PASSWORD + "!", usable_password="true")
    client.post(USERS, {"action": "delete_selected", "_selected_action": [mara.pk], "post": "yes"})
    acts = list(AuditEvent.objects.order_by("id").values_list("act", "subject"))
    assert acts == [("user.create", "mara"), ("user.change", "mara"), ("user.change", "mara"), ("user.delete", "mara")]
    changed, password = events("user.change")
    assert (changed.before["email"], changed.after["email"]) == ("", "new@example.org")
    assert password.after["fields"] == ["password"]
    assert not [event for event in AuditEvent.objects.values() if PASSWORD in str(event) or "md5$" in str(event)]


def test_changing_ones_own_password_is_recorded(clerk, redis_db):
    client = signed_in(clerk)
    answer = send(client, "/admin/password_change/", old_password="x", new_password1=PASSWORD, new_password2=PASSWORD)
    (event,) = events("user.change")
    assert answer.status_code == 302 and (event.actor, event.subject) == ("clerk", "clerk")
    assert PASSWORD not in str(event.after)


# Credentials of people who lose rights.


@pytest.fixture
def otto(account):
    """A superuser with a token, a management key of an account, one created with the token, and an invitation."""
    otto = User.objects.create_superuser("otto", password="x")
    actor = Actor("otto", user=otto)
    token, _ = make_operator_token(name="o", scopes=["keys:write"], actor=actor)
    make_management_key(account, name="m", scopes=["members:write"], actor=actor)
    with_token = Actor("operator token", credential=token)
    make_management_key(account, name="by the token", scopes=["keys:write"], actor=with_token)
    Invitation.objects.create(
        account=account, public_id="0" * 16, email="a@example.org", created_by=otto, expires_at="2099-01-01T00:00:00Z"
    )
    issue_key(account, name="k", actor=actor)
    return otto


def living():
    credentials = [model.objects.filter(revoked_at=None) for model in (ManagementKey, OperatorToken)]
    names = [row.name for rows in credentials for row in rows]
    return sorted(names + [row.email for row in Invitation.objects.filter(withdrawn_at=None)])


ALL = ["a@example.org", "by the token", "m", "o"]


@pytest.mark.parametrize("what", [{"is_active": None}, {"is_superuser": None}])
def test_a_person_who_loses_rights_keeps_no_credentials(root, otto, what):
    client = signed_in(root)
    answer = send(client, page(otto), **what)
    assert living() == [] and "by the token" in client.get(answer["Location"]).content.decode()


def test_credentials_are_kept_if_that_is_selected(root, otto):
    send(signed_in(root), page(otto), is_active=None, keep_credentials="on")
    assert living() == ["by the token", "m", "o"]


def test_other_changes_revoke_nothing(root, otto):
    send(signed_in(root), page(otto), first_name="Otto")
    assert living() == ALL


@pytest.mark.parametrize("how", ["page", "action"])
def test_deleting_a_user_revokes_their_credentials_but_no_keys(root, otto, how, account):
    if how == "page":
        signed_in(root).post(page(otto, "delete"), {"post": "yes"})
    else:
        chosen = {"action": "delete_selected", "_selected_action": [otto.pk], "post": "yes"}
        signed_in(root).post(USERS, chosen)
    assert not User.objects.filter(username="otto").exists() and living() == []
    assert account.keys.get().revoked_at is None


def test_the_log_keeps_the_roles_of_a_deleted_person(root, account):
    mara = User.objects.create_user("mara")
    set_role(account, mara, "viewer", actor=ACTOR)
    signed_in(root).post(page(mara, "delete"), {"post": "yes"})
    (event,) = events("user.delete")
    assert event.before["roles"] == {account.public_id: "viewer"}


@pytest.mark.parametrize("how", ["permission", "change", "delete", "action"])
def test_losing_a_permission_revokes_what_was_created_with_it(root, account, how):
    clerk = in_group(staff("kim"), "change_apikey")
    make_management_key(account, name="m", scopes=["keys:write"], actor=Actor("kim", user=clerk))
    group = clerk.groups.get()
    if how == "permission":
        send(signed_in(root), page(clerk), groups=None)
    elif how == "change":
        send(signed_in(root), f"/admin/auth/group/{group.pk}/change/", permissions=None)
    elif how == "delete":
        signed_in(root).post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"})
    else:
        chosen = {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"}
        signed_in(root).post("/admin/auth/group/", chosen)
        assert not Group.objects.exists()
    assert living() == []


# Roles in the admin.


MEMBERSHIPS = "/admin/accounts/membership/"


@pytest.fixture
def member_clerk(db):
    return staff(
        "clerk",
        *(f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("membership", "account")),
        "view_user",
    )


def test_staff_cannot_give_a_role_with_more_rights_than_theirs(member_clerk, account):
    client = signed_in(member_clerk)
    for role in ("owner", "admin"):
        answer = send(client, f"{MEMBERSHIPS}add/", account=account.pk, user=member_clerk.pk, role=role)
        assert "the highest role that you can give is member" in told(client, answer)
        inline = {"memberships-TOTAL_FORMS": 1, "memberships-0-user": member_clerk.pk, "memberships-0-role": role}
        send(client, f"/admin/accounts/account/{account.pk}/change/", **inline)
    assert not Membership.objects.exists()
    send(client, f"{MEMBERSHIPS}add/", account=account.pk, user=member_clerk.pk, role="member")
    send(client, f"{MEMBERSHIPS}{Membership.objects.get().pk}/change/", role="owner")
    assert Membership.objects.get().role == "member"


def told(client, answer):
    return client.get(answer["Location"]).content.decode() if answer.status_code == 302 else answer.content.decode()


def test_permission_for_memberships_alone_changes_none(account):
    clerk = staff("clerk", "view_membership", "add_membership", "change_membership", "delete_membership")
    set_role(account, User.objects.create_user("mara"), "member", actor=ACTOR)
    row, client = Membership.objects.get(), signed_in(clerk)
    assert client.post(f"{MEMBERSHIPS}{row.pk}/change/", {"role": "owner"}).status_code == 403
    assert client.post(f"{MEMBERSHIPS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(MEMBERSHIPS, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert Membership.objects.get().role == "member"


@pytest.mark.parametrize("how", ["page", "action", "inline", "role"])
def test_removing_a_role_in_the_admin_revokes_management_keys_too(root, account, how):
    adam = User.objects.create_user("adam")
    set_role(account, adam, "admin", actor=ACTOR)
    make_management_key(account, name="m", scopes=["members:write"], actor=Actor("adam", user=adam))
    client, row = signed_in(root), Membership.objects.get()
    if how == "page":
        client.post(f"{MEMBERSHIPS}{row.pk}/delete/", {"post": "yes"})
    elif how == "action":
        client.post(MEMBERSHIPS, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    elif how == "inline":
        send(client, f"/admin/accounts/account/{account.pk}/change/", **{"memberships-0-DELETE": "on"})
    else:
        send(client, f"{MEMBERSHIPS}{row.pk}/change/", role="member")
    assert living() == []


# Management keys in the admin.


def test_staff_are_offered_the_scopes_that_they_have(account):
    client, url = signed_in(staff("clerk", "change_apikey", "view_managementkey")), "/admin/accounts/managementkey/add/"
    shown = client.get(url).content.decode()
    assert "keys:write" in shown and "members:write" not in shown and "usage:read" not in shown
    data = posted(client.get(url), account=account.pk, name="k", scopes=["members:write"])
    client.post(url, data)
    assert not ManagementKey.objects.exists()
    client.post(url, {**data, "scopes": ["keys:write"]})
    assert ManagementKey.objects.get().created_by == User.objects.get(username="clerk")


def test_permission_for_accounts_alone_creates_no_management_key(account):
    client = signed_in(staff("clerk", "change_account", "view_managementkey"))
    assert client.get("/admin/accounts/managementkey/add/").status_code == 403


def test_staff_cannot_revoke_a_management_key_that_can_do_more(account):
    weak, _ = make_management_key(account, name="weak", scopes=["keys:read"], actor=ACTOR)
    strong, _ = make_management_key(account, name="strong", scopes=["members:write"], actor=ACTOR)
    client = signed_in(staff("clerk", "change_apikey", "view_managementkey"))
    answers = [client.post(f"/admin/accounts/managementkey/{row.pk}/revoke/").status_code for row in (strong, weak)]
    assert answers == [403, 302] and living() == ["strong"]
    assert "../revoke/" not in client.get(f"/admin/accounts/managementkey/{strong.pk}/change/").content.decode()


def test_the_admin_shows_who_created_a_credential_and_with_which(root, otto):
    client = signed_in(root)
    row = ManagementKey.objects.get(name="by the token")
    shown = client.get(f"/admin/accounts/managementkey/{row.pk}/change/").content.decode()
    assert row.made_with is not None and row.made_with in shown
    assert "otto" in client.get("/admin/accounts/managementkey/").content.decode()


def test_revoking_a_token_lists_the_keys_created_with_it_that_keep_working(root, otto):
    client, token = signed_in(root), OperatorToken.objects.get()
    answer = client.post(f"/admin/accounts/operatortoken/{token.pk}/revoke/")
    assert "by the token" in told(client, answer)
