"""What people leave behind when they are removed or get a lower role: listed, revoked, or kept."""

from __future__ import annotations

import pytest

from accounts.models import ApiKey, AuditEvent, Invitation, ManagementKey, Membership, User
from accounts.services.acts import Actor
from accounts.services.credentials import make_management_key, make_operator_token
from accounts.services.invitations import invite
from accounts.services.keys import issue_key
from accounts.services.outgrown import credentials_behind
from tests.api.callers import bearer, member_of, operator, post, program_of, signed_in
from tests.conftest import ACTOR

JSON = "application/json"
ALL = ["keys:read", "keys:write", "usage:read", "members:write"]


@pytest.fixture
def adam(account):
    return member_of(account, "admin", "adam")


def url_of(place, name, query=""):
    return f"{place}/members/{Membership.objects.get(user__username=name).public_id}/{query}"


def key_of(client, account, *scopes):
    """A management key created by this person, and a client with it."""
    made = post(client, "/api/v1/management-keys/", account=account.public_id, name="ci", scopes=list(scopes or ALL))
    return made.json()["id"], bearer(made.json()["key"])


def works(program):
    return program.get("/api/v1/me/").status_code == 200


def test_a_removed_admin_cannot_return_with_a_management_key(account, place, owner, adam):
    id, program = key_of(adam, account)
    removed = owner.delete(url_of(place, "adam"))
    assert removed.status_code == 200
    assert removed.json()["management_keys"] == [{"id": id, "name": "ci", "revoked": True}]
    assert not works(program)
    assert post(program, f"{place}/invitations/", email="adam@example.org").status_code == 401


def test_a_removed_admin_cannot_return_by_their_own_invitation(account, place, owner, adam):
    post(adam, f"{place}/invitations/", email="other@example.org", role="admin")
    removed = owner.delete(url_of(place, "adam")).json()
    assert [row["email"] for row in removed["invitations"]] == ["other@example.org"]
    assert Invitation.objects.get().withdrawn_at is not None


def test_nor_by_an_invitation_that_their_management_key_sent(account, place, owner, adam):
    _, program = key_of(adam, account)
    post(program, f"{place}/invitations/", email="other@example.org", role="member")
    owner.delete(url_of(place, "adam"))
    assert Invitation.objects.get().withdrawn_at is not None


def test_somebody_who_may_create_management_keys_can_choose_to_keep_them(account, place, owner, adam):
    id, program = key_of(adam, account)
    removed = owner.delete(url_of(place, "adam", "?management_keys=keep")).json()
    assert removed["management_keys"] == [{"id": id, "name": "ci", "revoked": False}] and works(program)


def test_what_a_kept_management_key_has_invited_stays(account, place, owner, adam):
    _, program = key_of(adam, account)
    post(adam, f"{place}/invitations/", email="of-adam@example.org", role="member")
    post(program, f"{place}/invitations/", email="of-the-program@example.org", role="member")
    removed = owner.delete(url_of(place, "adam", "?management_keys=keep")).json()
    assert [row["email"] for row in removed["invitations"]] == ["of-adam@example.org"]
    assert Invitation.objects.get(withdrawn_at=None).email == "of-the-program@example.org"


def test_who_gains_rights_leaves_nothing_behind(account, place, owner):
    post(member_of(account, "member", "mia"), "/api/v1/keys/", name="mine")
    changed = owner.patch(url_of(place, "mia"), {"role": "admin"}, content_type=JSON).json()
    assert changed["role"] == "admin" and changed["keys"] == changed["management_keys"] == []


def test_people_who_leave_cannot_keep_their_management_keys(account, place, owner, adam):
    _, program = key_of(adam, account)
    url = url_of(place, "adam", "?management_keys=keep")
    assert adam.delete(url).status_code == 403
    assert adam.patch(url, {"role": "viewer"}, content_type=JSON).status_code == 403
    assert adam.delete(url_of(place, "adam")).status_code == 200 and not works(program)


def test_somebody_who_may_not_create_management_keys_cannot_keep_them(account, place, owner, adam):
    _, program = key_of(adam, account)
    for caller in (operator("accounts:write"), program_of(account, "members:write")):
        assert caller.delete(url_of(place, "adam", "?management_keys=keep")).status_code == 403
    assert works(program) and Membership.objects.filter(user__username="adam").exists()


def test_keys_for_models_are_listed_and_keep_working(account, place, owner, adam):
    _, program = key_of(adam, account)
    mine = post(adam, "/api/v1/keys/", name="mine").json()["id"]
    programs = post(program, "/api/v1/keys/", name="of the program").json()["id"]
    issue_key(account, name="of somebody else", actor=ACTOR)
    removed = owner.delete(url_of(place, "adam")).json()
    assert removed["keys"] == [
        {"id": mine, "name": "mine", "revoked": False},
        {"id": programs, "name": "of the program", "revoked": False},
    ]
    assert not ApiKey.objects.exclude(revoked_at=None).exists()


def test_keys_for_models_are_revoked_on_request(account, place, owner, adam):
    mine = post(adam, "/api/v1/keys/", name="mine").json()["id"]
    other = issue_key(account, name="of somebody else", actor=ACTOR).key
    removed = owner.delete(url_of(place, "adam", "?keys=revoke"))
    assert removed.status_code == 200 and removed.json()["keys"] == [{"id": mine, "name": "mine", "revoked": True}]
    assert ApiKey.objects.get(public_id=mine).revoked_at and not ApiKey.objects.get(pk=other.pk).revoked_at


@pytest.mark.django_db(transaction=True)
def test_a_removal_is_pending_until_the_gate_knows_of_the_revoked_keys(account, place, owner, adam, redis_away):
    post(adam, "/api/v1/keys/", name="mine")
    url = url_of(place, "adam", "?keys=revoke")
    with redis_away():
        answer = owner.delete(url)
    assert answer.status_code == 202 and answer.json()["state"] == "pending"


def test_a_removal_cannot_revoke_keys_that_the_caller_may_not_revoke(account, place, adam):
    post(adam, "/api/v1/keys/", name="mine")
    url = url_of(place, "adam", "?keys=revoke")
    assert operator("accounts:write").delete(url).status_code == 403
    assert operator("accounts:write", "keys:write").delete(url).status_code == 200


def test_removing_somebody_who_created_nothing_answers_204(account, place, owner, adam):
    assert owner.delete(url_of(place, "adam")).status_code == 204


def test_a_key_that_has_ended_is_not_left_behind(account, place, owner, adam):
    id = post(adam, "/api/v1/keys/", name="mine").json()["id"]
    adam.delete(f"/api/v1/keys/{id}/")
    assert owner.delete(url_of(place, "adam")).status_code == 204


def test_on_request_keys_for_models_are_revoked_in_that_account_alone(account, pro_account, place, owner, adam):
    Membership.objects.create(account=pro_account, user=User.objects.get(username="adam"), role="owner")
    post(adam, "/api/v1/keys/", account=account.public_id, name="here")
    post(adam, "/api/v1/keys/", account=pro_account.public_id, name="there")
    member = account.memberships.get(user__username="adam")
    removed = owner.delete(f"{place}/members/{member.public_id}/?keys=revoke").json()
    assert [key["name"] for key in removed["keys"]] == ["here"]
    assert [key.name for key in ApiKey.objects.filter(revoked_at=None)] == ["there"]


def test_on_request_keys_that_their_program_made_are_revoked_with_their_own(account, place, owner, adam):
    _, program = key_of(adam, account)
    post(adam, "/api/v1/keys/", account=account.public_id, name="by adam")
    post(program, "/api/v1/keys/", name="by the program")
    post(owner, "/api/v1/keys/", account=account.public_id, name="by the owner")
    member = account.memberships.get(user__username="adam")
    removed = owner.delete(f"{place}/members/{member.public_id}/?keys=revoke").json()
    assert sorted(key["name"] for key in removed["keys"]) == ["by adam", "by the program"]
    assert [key.name for key in ApiKey.objects.filter(revoked_at=None)] == ["by the owner"]


def test_management_keys_of_that_account_alone_are_revoked(account, pro_account, place, owner, adam):
    Membership.objects.create(account=pro_account, user=User.objects.get(username="adam"), role="owner")
    here, _ = key_of(adam, account)
    there, _ = key_of(adam, pro_account)
    Membership.objects.filter(account=pro_account).update(role="viewer")  # as if `keep` had been chosen there
    member = account.memberships.get(user__username="adam")
    removed = owner.delete(f"{place}/members/{member.public_id}/").json()
    assert [row["id"] for row in removed["management_keys"]] == [here]
    assert list(ManagementKey.objects.active().values_list("public_id", flat=True)) == [there]


def test_invitations_to_that_account_alone_are_withdrawn(account, pro_account, place, owner, adam):
    Membership.objects.create(account=pro_account, user=User.objects.get(username="adam"), role="viewer")
    for other, email in ((account, "here@example.org"), (pro_account, "there@example.org")):
        invite(other, email=email, role="member", actor=ACTOR)
    Invitation.objects.update(created_by=User.objects.get(username="adam"))
    owner.delete(f"{place}/members/{account.memberships.get(user__username='adam').public_id}/")
    assert [row.email for row in Invitation.objects.filter(withdrawn_at=None)] == ["there@example.org"]


def test_only_keys_of_that_account_end(account, pro_account, place, owner, adam):
    Membership.objects.create(account=pro_account, user=User.objects.get(username="adam"), role="owner")
    _, here = key_of(adam, account)
    _, there = key_of(adam, pro_account)
    owner.delete(f"{place}/members/{account.memberships.get(user__username='adam').public_id}/")
    assert not works(here) and works(there)


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_a_lower_role_ends_keys_with_more_scopes_than_it_has(account, place, owner, adam, role):
    ids = {scope: key_of(adam, account, scope) for scope in ALL}
    changed = owner.patch(url_of(place, "adam"), {"role": role}, content_type=JSON).json()
    assert changed["role"] == role
    assert {row["id"] for row in changed["management_keys"]} == {ids["keys:write"][0], ids["members:write"][0]}
    assert [works(program) for _, program in ids.values()] == [True, False, True, False]


def test_an_owner_who_becomes_an_admin_keeps_keys_and_loses_invitations_of_owners(account, place, owner):
    otto = member_of(account, "owner", "otto")
    _, program = key_of(otto, account)
    for role in ("owner", "admin"):
        post(otto, f"{place}/invitations/", email=f"{role}@example.org", role=role)
    changed = owner.patch(url_of(place, "otto"), {"role": "admin"}, content_type=JSON).json()
    assert works(program) and [row["email"] for row in changed["invitations"]] == ["owner@example.org"]


def test_a_lower_role_keeps_them_on_request(account, place, owner, adam):
    _, program = key_of(adam, account)
    answer = owner.patch(url_of(place, "adam", "?management_keys=keep"), {"role": "viewer"}, content_type=JSON)
    assert answer.json()["management_keys"][0]["revoked"] is False and works(program)


def test_adding_a_member_again_with_a_lower_role_ends_them_too(account, place, owner, adam):
    _, program = key_of(adam, account)
    answer = post(operator("accounts:write"), f"{place}/members/", username="adam", role="viewer")
    assert answer.status_code == 201 and not works(program)


def test_a_person_is_responsible_for_what_their_token_created(account, place):
    """A superuser leaves, and what their token created is found."""
    root = User.objects.create_superuser("root")
    token, text = make_operator_token(name="o", scopes=["keys:write"], actor=Actor("root", user=root))
    member_of(account, "owner", "olga")
    Membership.objects.create(account=account, user=root, role="admin")
    _, program = key_of(bearer(text), account, "keys:write")
    User.objects.filter(pk=root.pk).update(is_superuser=False, is_staff=False)
    removed = signed_in(User.objects.get(username="olga")).delete(url_of(place, "root")).json()
    assert [row["revoked"] for row in removed["management_keys"]] == [True] and not works(program)
    token.refresh_from_db()
    assert token.revoked_at is None  # it belongs to no account


def test_what_ends_is_in_the_audit_log(account, place, owner, adam):
    id, _ = key_of(adam, account)
    invitation = post(adam, f"{place}/invitations/", email="other@example.org", role="admin").json()["id"]
    AuditEvent.objects.all()._raw_delete("default")
    owner.delete(url_of(place, "adam"))
    events = list(AuditEvent.objects.order_by("id").values_list("actor", "act", "subject"))
    assert events == [
        ("olga", "account.member", account.public_id),
        ("olga", "management_key.revoke", id),
        ("olga", "invitation.withdraw", invitation),
    ]


@pytest.mark.parametrize("query", ["?management_keys=some", "?keys=all", "?kees=revoke"])
def test_an_invalid_choice_is_refused(account, place, owner, adam, query):
    assert owner.delete(url_of(place, "adam", query)).status_code == 400
    assert Membership.objects.filter(user__username="adam").exists()


def test_a_key_of_nobody_stays(account, place, owner, adam):
    row, text = make_management_key(account, name="by a command", scopes=ALL, actor=ACTOR)
    owner.delete(url_of(place, "adam"))
    assert works(bearer(text)) and ManagementKey.objects.get().pk == row.pk


def test_a_person_is_behind_what_programs_of_their_programs_created_however_many_there_are(account, adam):
    person, made = User.objects.get(username="adam"), None
    ids = []
    for number in range(4):
        actor = Actor("adam", user=person) if made is None else Actor("a program", credential=made)
        made, _ = make_management_key(account, name=f"k{number}", scopes=ALL, actor=ACTOR)
        made.created_by, made.made_with = actor.user, actor.made_with
        made.save()
        ids.append(made.public_id)
    assert credentials_behind(person) == set(ids)
