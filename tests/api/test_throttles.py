"""Throttles count per account, whichever of its people or programs asks; for an operator per token."""

from __future__ import annotations

import inspect

import pytest

from accounts.models import Account, ApiKey, AuditEvent, Membership, User
from accounts.services.credentials import make_management_key, make_operator_token
from accounts.services.invitations import invite
from accounts.services.roles import set_role
from api.openapi.documented_errors import SAFE
from api.urls import OPERATIONS
from store.throttles import DAYS_ISSUES, EXPLANATIONS, EXPORTS, IMPORTS, ISSUES, LOOKS, OPERATORS_WRITES, WRITES
from tests.api.callers import bearer, fill, member_of, operator, post, program_of
from tests.conftest import ACTOR

V1 = "/api/v1/"
JSON = "application/json"


@pytest.fixture
def member(account) -> Membership:
    user = User.objects.create_user("somebody")
    set_role(account, user, "viewer", actor=ACTOR)
    return Membership.objects.get(user=user)


@pytest.fixture
def writes(account, issued, member):
    """Every change that creates no secret, as an owner makes it."""
    key, of = f"{V1}keys/{issued.key.public_id}/", f"{V1}accounts/{account.public_id}/"
    invitation = invite(account, email="grace@example.org", role="member", actor=ACTOR).public_id
    management_key = make_management_key(account, name="k", scopes=["keys:read"], actor=ACTOR)[0].public_id
    return {
        "change_key": lambda client: client.patch(key, {"name": "x"}, content_type=JSON),
        "end_rotation": lambda client: post(client, f"{key}end-rotation/"),
        "pause_key": lambda client: post(client, f"{key}pause/"),
        "resume_key": lambda client: post(client, f"{key}resume/"),
        "revoke_key": lambda client: client.delete(key),
        "change_account": lambda client: client.patch(of, {"name": "x"}, content_type=JSON),
        "change_member": lambda client: client.patch(
            f"{of}members/{member.public_id}/", {"role": "member"}, content_type=JSON
        ),
        "remove_member": lambda client: client.delete(f"{of}members/{member.public_id}/"),
        "withdraw_invitation": lambda client: client.delete(f"{of}invitations/{invitation}/"),
        "revoke_management_key": lambda client: client.delete(f"{V1}management-keys/{management_key}/"),
        "close_account": lambda client: post(client, f"{of}close/", confirm=account.public_id),
    }


NAMES = (
    "change_key",
    "end_rotation",
    "pause_key",
    "resume_key",
    "revoke_key",
    "change_account",
    "change_member",
    "remove_member",
    "withdraw_invitation",
    "revoke_management_key",
    "close_account",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_change_beyond_the_accounts_throttle_is_refused_and_changes_nothing(account, redis_db, writes, name):
    owner = member_of(account, "owner")
    fill(redis_db, WRITES, account.public_id)
    events = AuditEvent.objects.count()
    answer = writes[name](owner)
    assert answer.status_code == 429 and int(answer["Retry-After"]) >= 1
    assert AuditEvent.objects.count() == events


def test_every_change_is_counted_somewhere():
    """Finds a new change that is not. Some count in a function of their own."""
    counting = ("count_write(", "count_new_secret(", "take_from(", "count_mail(", "admit(")
    changes = [view for view in OPERATIONS if view.__name__.upper() not in SAFE]
    assert [view.__qualname__ for view in changes if not any(one in inspect.getsource(view) for one in counting)] == []


def test_a_refused_change_does_not_count(account, issued, redis_db):
    viewer = member_of(account, "viewer")
    for _ in range(3):
        answer = viewer.patch(f"{V1}keys/{issued.key.public_id}/", {"name": "x"}, content_type=JSON)
        assert answer.status_code == 403
    assert list(redis_db.scan_iter("authsvc:throttle:*")) == []


@pytest.mark.parametrize("name", NAMES)
def test_no_change_of_a_viewer_counts(account, redis_db, writes, member, name):
    viewer = member_of(account, "viewer", "vera")
    assert writes[name](viewer).status_code == 403
    assert list(redis_db.scan_iter("authsvc:throttle:*")) == []


def test_no_mail_counts_that_may_not_be_sent(account, redis_db):
    """Or a member could use up the account's mails, and those to anybody's mailbox."""
    of = f"{V1}accounts/{account.public_id}/invitations/"
    row = invite(account, email="grace@example.org", role="owner", actor=ACTOR)
    admin = member_of(account, "admin")
    assert post(admin, of, email="eve@example.org", role="owner").status_code == 403
    assert post(admin, f"{of}{row.public_id}/resend/").status_code == 403
    assert admin.delete(f"{of}{row.public_id}/").status_code == 403
    assert list(redis_db.scan_iter("authsvc:throttle:*")) == []


def test_adding_members_counts_for_the_operator(account, redis_db, member):
    token, text = make_operator_token(name="k", scopes=["accounts:write"], actor=ACTOR)
    fill(redis_db, OPERATORS_WRITES, f"operator_token:{token.public_id}")
    User.objects.create_user("grace")
    answer = post(bearer(text), f"{V1}accounts/{account.public_id}/members/", username="grace", role="viewer")
    assert answer.status_code == 429 and account.memberships.count() == 1


def test_exports_count_per_account_whoever_asks(account, redis_db):
    of = f"{V1}accounts/{account.public_id}/export/"
    fill(redis_db, EXPORTS, account.public_id)
    assert [client.get(of).status_code for client in (member_of(account, "owner"), operator("accounts:write"))] == [
        429
    ] * 2


@pytest.mark.parametrize("throttle", [ISSUES, DAYS_ISSUES])
def test_a_second_management_key_does_not_raise_the_accounts_throttle(account, issued, redis_db, throttle):
    first, second = program_of(account, "keys:write"), program_of(account, "keys:write")
    assert post(first, f"{V1}keys/", name="k").status_code == 201

    def is_refused(client, url, **body):
        fill(
            redis_db, throttle, account.public_id
        )  # each time: on a slow machine a call's worth may have drained since
        return post(client, url, **body).status_code == 429

    for client in (first, second, member_of(account, "owner")):
        assert is_refused(client, f"{V1}keys/", name="k")
        assert is_refused(client, f"{V1}keys/{issued.key.public_id}/rotate/")
    assert is_refused(member_of(account, "admin"), f"{V1}management-keys/", name="k", scopes=["keys:read"])
    assert ApiKey.objects.count() == 2


def test_other_accounts_and_operators_are_not_throttled(account, pro_account, issued, redis_db):
    for throttle in (ISSUES, DAYS_ISSUES, WRITES):
        fill(redis_db, throttle, account.public_id)
    assert post(program_of(pro_account, "keys:write"), f"{V1}keys/", name="k").status_code == 201
    clerk = operator("keys:write")
    assert post(clerk, f"{V1}keys/", account=account.public_id, name="k").status_code == 201
    assert clerk.delete(f"{V1}keys/{issued.key.public_id}/").status_code == 204


def test_an_operators_changes_count_per_token(account, redis_db):
    (token, text), (_, other) = (
        make_operator_token(name="k", scopes=["accounts:write", "plans:assign"], actor=ACTOR) for _ in range(2)
    )
    fill(redis_db, OPERATORS_WRITES, f"operator_token:{token.public_id}")
    url = f"{V1}accounts/by-external-id/cus_1"
    assert bearer(text).put(url, {"plan": "free"}, content_type=JSON).status_code == 429
    assert not Account.objects.filter(external_id="cus_1").exists()
    assert bearer(other).put(url, {"plan": "free"}, content_type=JSON).status_code == 201


def test_looks_explanations_and_uploads_count_per_account(account, issued, redis_db):
    id = issued.key.public_id
    owner, program = member_of(account, "owner"), program_of(account, "usage:read", "keys:write")
    for client in (owner, program):
        for throttle in (LOOKS, EXPLANATIONS, IMPORTS):
            fill(redis_db, throttle, account.public_id)
        assert client.get(f"{V1}limits/?key={id}&model=sm").status_code == 429
        assert client.post(f"{V1}imports/", "name,key\n", content_type="text/csv").status_code == 429
    assert post(owner, f"{V1}explain/", key=id, model="sm").status_code == 429
    assert post(operator("usage:read"), f"{V1}explain/", key=id, model="sm").status_code == 200
