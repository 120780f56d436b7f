"""Who may do what: every address of the API, asked by everybody."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from django.db import transaction
from django.urls import get_resolver
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.imports.jobs import receive, work_on_imports
from accounts.models import Account, ApiKey
from accounts.services.credentials import make_management_key
from accounts.services.invitations import invite
from api.urls import urlpatterns
from quotas.models import UsageHour
from tests.api.callers import everybody, member_of
from tests.conftest import ACTOR

# +  done (2xx); of a list: with what is the account's
# .  a list, and nothing of the account's is in it
# -  403   0  404   !  401   ?  400: it does not say for which account
COLUMNS = (
    "nobody",
    "viewer",
    "member",
    "admin",
    "owner",
    "stranger",
    "staff without permissions",
    "staff for keys",
    "superuser",
    "program keys:read",
    "program keys:write",
    "program usage:read",
    "program members:write",
    "program of another account",
    "program, revoked",
    "operator accounts:write",
    "operator plans:assign",
    "operator keys:write",
    "operator usage:read",
    "key for models",
)

KEY, ACCOUNT = "/keys/{key}/", "/accounts/{account}/"
TABLE = """
                                                    n vmao x skS rwum o r apku M
GET    me/                                          ! ++++ . ... ++++ . ! .... !
GET    accounts/                                    ! ++++ . .++ ++++ . ! ++++ !
GET    accounts/by-external-id/{external}           ! ---- - --+ ---- - ! +--- !
PUT    accounts/by-external-id/{external}           ! ---- - --+ ---- - ! +--- !
PUT    accounts/by-external-id/{external} plan      ! ---- - --+ ---- - ! ---- !
GET    accounts/{account}/                          ! ++++ 0 0++ ++++ 0 ! ++++ !
PATCH  accounts/{account}/ name                     ! --++ 0 0-+ ---- - ! +--- !
PATCH  accounts/{account}/ plan                     ! ---- 0 0-+ ---- - ! -+-- !
PATCH  accounts/{account}/ status                   ! ---- 0 0-+ ---- - ! +--- !
GET    accounts/{account}/export/                   ! ---+ 0 0-+ ---- - ! +--- !
POST   accounts/{account}/close/                    ! ---+ 0 0-+ ---- - ! +--- !
GET    accounts/{account}/members/                  ! ++++ 0 0-+ ---+ 0 ! +--- !
POST   accounts/{account}/members/                  ! ---- - --+ ---- - ! +--- !
POST   accounts/{account}/members/ admin            ! ---- - --+ ---- - ! ---- !
POST   accounts/{account}/members/ owner            ! ---- - --+ ---- - ! ---- !
GET    accounts/{account}/members/{member}/         ! ++++ 0 0-+ ---+ 0 ! +--- !
PATCH  accounts/{account}/members/{member}/         ! --++ 0 0-+ ---+ 0 ! +--- !
DELETE accounts/{account}/members/{member}/         ! --++ 0 0-+ ---+ 0 ! +--- !
PATCH  accounts/{account}/members/{member}/ admin   ! --++ 0 0-+ ---- 0 ! ---- !
PATCH  accounts/{account}/members/{member}/ owner   ! ---+ 0 0-+ ---- 0 ! ---- !
PATCH  accounts/{account}/members/{an_admin}/       ! --++ 0 0-+ ---- 0 ! +--- !
DELETE accounts/{account}/members/{an_admin}/       ! --++ 0 0-+ ---- 0 ! +--- !
PATCH  accounts/{account}/members/{an_owner}/       ! ---+ 0 0-+ ---- 0 ! +--- !
DELETE accounts/{account}/members/{an_owner}/       ! ---+ 0 0-+ ---- 0 ! +--- !
GET    accounts/{account}/invitations/              ! ++++ 0 0-+ ---+ 0 ! +--- !
POST   accounts/{account}/invitations/              ! --++ 0 0-+ ---+ 0 ! +--- !
POST   accounts/{account}/invitations/ admin        ! --++ 0 0-+ ---- 0 ! ---- !
POST   accounts/{account}/invitations/ owner        ! ---+ 0 0-+ ---- 0 ! ---- !
GET    accounts/{account}/invitations/{invitation}/ ! ++++ 0 0-+ ---+ 0 ! +--- !
DELETE accounts/{account}/invitations/{invitation}/ ! --++ 0 0-+ ---+ 0 ! +--- !
POST   accounts/{account}/invitations/{invitation}/resend/ ! --++ 0 0-+ ---+ 0 ! +--- !
DELETE accounts/{account}/invitations/{to_an_admin}/ ! --++ 0 0-+ ---- 0 ! +--- !
POST   accounts/{account}/invitations/{to_an_admin}/resend/ ! --++ 0 0-+ ---- 0 ! ---- !
GET    keys/                                        ! ++++ . .++ ++-- . ! --+- !
GET    keys/?account={account}                      ! ++++ 0 0++ ++-- 0 ! --+- !
POST   keys/                                        ! -+++ 0 0++ -+-- 0 ! --+- !
GET    keys/{key}/                                  ! ++++ 0 0++ ++-- 0 ! --+- !
PATCH  keys/{key}/                                  ! --++ 0 0++ -+-- 0 ! --+- !
DELETE keys/{key}/                                  ! --++ 0 0++ -+-- 0 ! --+- !
POST   keys/{key}/rotate/                           ! --++ 0 0++ -+-- 0 ! --+- !
POST   keys/{key}/end-rotation/                     ! --++ 0 0++ -+-- 0 ! --+- !
PATCH  keys/{members_key}/                          ! -+++ 0 0++ -+-- 0 ! --+- !
DELETE keys/{members_key}/                          ! -+++ 0 0++ -+-- 0 ! --+- !
POST   keys/{members_key}/rotate/                   ! -+++ 0 0++ -+-- 0 ! --+- !
POST   keys/{members_key}/end-rotation/             ! -+++ 0 0++ -+-- 0 ! --+- !
GET    management-keys/                             ! ..++ . .++ ---- - ! --+- !
GET    management-keys/?account={account}           ! --++ 0 0++ ---- - ! --+- !
POST   management-keys/                             ! --++ 0 0++ ---- - ! --+- !
POST   management-keys/ keys:write                  ! --++ 0 0++ ---- - ! --+- !
POST   management-keys/ usage:read                  ! --++ 0 0-+ ---- - ! ---- !
POST   management-keys/ members:write               ! --++ 0 0-+ ---- - ! ---- !
GET    management-keys/{management_key}/            ! --++ 0 0++ ---- - ! --+- !
DELETE management-keys/{management_key}/            ! --++ 0 0++ ---- - ! --+- !
DELETE management-keys/{stronger_key}/              ! --++ 0 0-+ ---- - ! ---- !
GET    models/?account={account}                    ! ++++ 0 0++ ++++ 0 ! ++++ !
GET    plans/?account={account}                     ! ++++ 0 0++ ++++ 0 ! ++++ !
GET    models/                                      ! ++++ + +++ ++++ + ! ++++ !
GET    plans/                                       ! ++++ + +++ ++++ + ! ++++ !
GET    audit/                                       ! ..++ . ..+ ---- - ! +--- !
GET    audit/?account={account}                     ! --++ 0 0-+ ---- - ! +--- !
GET    usage/?group_by=account                      ! ++++ . ..+ --+- . ! ---+ !
GET    usage/?group_by=account&account={account}    ! ++++ 0 0-+ --+- 0 ! ---+ !
GET    limits/?key={key}&model=sm                   ! ++++ 0 0-+ --+- 0 ! ---+ !
POST   explain/                                     ! ---+ 0 0-+ ---- - ! ---+ !
GET    imports/                                     ! ..++ . .++ -+-- . ! --+- !
POST   imports/?account={account}                   ! --++ 0 0++ -+-- 0 ! --+- !
GET    imports/{import_}/                           ! --++ 0 0++ -+-- 0 ! --+- !
GET    imports/{import_}/report/?outcome=imported   ! --++ 0 0++ -+-- 0 ! --+- !
"""

BODIES: dict[str, dict[str, object]] = {
    "PUT accounts/by-external-id/{external}": {"status": "suspended"},
    "PUT accounts/by-external-id/{external} plan": {"plan": "pro"},
    "PATCH accounts/{account}/ name": {"name": "new"},
    "PATCH accounts/{account}/ plan": {"plan": "pro"},
    "PATCH accounts/{account}/ status": {"status": "suspended"},
    "POST accounts/{account}/close/": {"confirm": "{account}"},
    "POST accounts/{account}/members/": {"username": "clerk", "role": "viewer"},
    "PATCH accounts/{account}/members/{member}/": {"role": "viewer"},
    "PATCH accounts/{account}/members/{member}/ admin": {"role": "admin"},
    "PATCH accounts/{account}/members/{member}/ owner": {"role": "owner"},
    "PATCH accounts/{account}/members/{an_admin}/": {"role": "viewer"},
    "PATCH accounts/{account}/members/{an_owner}/": {"role": "viewer"},
    "POST accounts/{account}/members/ admin": {"username": "clerk", "role": "admin"},
    "POST accounts/{account}/members/ owner": {"username": "clerk", "role": "owner"},
    "POST accounts/{account}/invitations/ admin": {"email": "new@example.org", "role": "admin"},
    "POST accounts/{account}/invitations/": {"email": "new@example.org"},
    "POST accounts/{account}/invitations/ owner": {"email": "new@example.org", "role": "owner"},
    "POST keys/": {"name": "new", "account": "{account}"},
    "PATCH keys/{key}/": {"name": "new"},
    "PATCH keys/{members_key}/": {"name": "new"},
    "POST explain/": {"key": "{key}", "model": "sm"},
    "POST management-keys/": {"name": "new", "account": "{account}", "scopes": ["keys:read"]},
    **{
        f"POST management-keys/ {scope}": {"name": "new", "account": "{account}", "scopes": [scope]}
        for scope in ("keys:write", "usage:read", "members:write")
    },
}
FILES = {"POST imports/?account={account}": "name,key\nnew,of-another-system-01\n"}
STATUS = {"-": 403, "0": 404, "!": 401, "?": 400}
# Answers that do not name the account, so that nothing in them could give it away either.
NOT_OF_ACCOUNTS = ("models/", "plans/")


class Row(NamedTuple):
    name: str
    expected: dict[str, str]

    @property
    def method(self) -> str:
        return self.name.split()[0]

    @property
    def path(self) -> str:
        return self.name.split()[1]


def rows() -> list[Row]:
    found = []
    for line in TABLE.strip().splitlines()[1:]:
        words = line.split()
        cells = "".join(words[-9:])
        assert len(cells) == len(COLUMNS), line
        found.append(Row(" ".join(words[:-9]), dict(zip(COLUMNS, cells, strict=True))))
    return found


@pytest.fixture
def account(account):
    account.external_id = "cus_1"
    account.save()
    return account


@pytest.fixture
def places(account, pro_account, issued):
    """What stands in for the names in braces."""
    member_of(account, "owner", "second owner")
    member_of(account, "member", "second member")
    member_of(account, "admin", "second admin")
    asking = everybody(account, pro_account)
    of = {membership.user.username: membership for membership in account.memberships.select_related("user")}
    members_key = asking["member"].post("/api/v1/keys/", {"name": "mine"}, content_type="application/json").json()["id"]
    _use(issued.key)
    return asking, {
        "import_": imported(account),
        "account": account.public_id,
        "external": "cus_1",
        "key": issued.key.public_id,
        "members_key": members_key,
        "member": of["second member"].public_id,
        "an_owner": of["second owner"].public_id,
        "an_admin": of["second admin"].public_id,
        "to_an_admin": invite(account, email="boss@example.org", role="admin", actor=ACTOR).public_id,
        "stronger_key": make_management_key(account, name="s", scopes=["members:write"], actor=ACTOR)[0].public_id,
        "invitation": invite(account, email="guest@example.org", role="member", actor=ACTOR).public_id,
        "management_key": make_management_key(account, name="m", scopes=["keys:read"], actor=ACTOR)[0].public_id,
    }


def _use(key: ApiKey) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    owner = key.account.public_id
    UsageHour.objects.create(account=owner, key=key.public_id, model="sm", hour=hour, birth=1, allowed=1, units=1)


def imported(account: Account) -> str:
    """An import that was gone through."""
    job = receive(["name,key\n", "old,of-another-system-00\n"], actor=ACTOR, account=account, dry_run=False)
    work_on_imports(60)
    return job.public_id


# Limits are read from Redis, where only what is committed is published.
COMMITTED = {True: [pytest.mark.django_db(transaction=True)], False: []}
ASKED = [pytest.param(row, id=row.name, marks=COMMITTED[row.path.startswith("limits/")]) for row in rows()]


@pytest.mark.parametrize("row", ASKED)
def test_everybody_may_do_what_the_table_says_and_nothing_else(places, account, redis_db, row):
    asking, names = places
    body = {
        name: value.format(**names) if isinstance(value, str) else value
        for name, value in BODIES.get(row.name, {}).items()
    }
    path = "/api/v1/" + row.path.format(**names)
    wrong = {}
    for who, expected in row.expected.items():
        redis_db.delete(*redis_db.keys("*throttle:*") or [""])  # all invite the same person, who gets few mails a day
        with transaction.atomic():  # undone afterwards: each finds the same
            ask = getattr(asking[who], row.method.lower())
            if row.name in FILES:
                response = ask(path, FILES[row.name], content_type="text/csv")
            else:
                response = ask(path) if row.method == "GET" else ask(path, body, content_type="application/json")
            found = _seen(response, account, row)
            transaction.set_rollback(True)
        if found != expected:
            wrong[who] = f"{found} ({response.status_code}), not {expected}"
    assert not wrong


def _seen(response, account: Account, row: Row) -> str:
    if not 200 <= response.status_code < 300:
        return {status: sign for sign, status in STATUS.items()}.get(response.status_code, str(response.status_code))
    content = response.getvalue() if response.streaming else response.content
    is_list = (
        row.method == "GET"
        and not row.path.startswith(NOT_OF_ACCOUNTS)
        and "members" not in row.path
        and "invitations" not in row.path
    )
    return "." if is_list and account.public_id.encode() not in content else "+"


def test_no_address_or_method_is_missing_from_the_table():
    documented = {(row.method, row.path.partition("?")[0]) for row in rows()}
    resolver = get_resolver("api.urls")
    routed = set()
    for pattern in urlpatterns:
        view = getattr(pattern.callback, "view_class", None)
        if pattern.name is None or view is None:
            continue
        for method in ("get", "post", "put", "patch", "delete"):
            if hasattr(view, method):
                routed.add((method.upper(), pattern.name))
    named = set()
    for method, path in documented:
        concrete = path.format(
            **dict.fromkeys(
                (
                    "key",
                    "members_key",
                    "member",
                    "an_owner",
                    "an_admin",
                    "invitation",
                    "to_an_admin",
                    "management_key",
                    "stronger_key",
                    "import_",
                ),
                "0" * 16,
            ),
            account="0" * 8,
            external="x",
        )
        named.add((method, resolver.resolve("/" + concrete).url_name))
    assert named == routed


def test_a_revoked_management_key_and_a_suspended_account(places, account):
    """A suspended account's people and programs still see and pay for what they have."""
    asking, _ = places
    models_base(Account).filter(pk=account.pk).update(suspended_at="2026-01-01T00:00:00Z")
    assert asking["program keys:read"].get("/api/v1/keys/").status_code == 200
    assert asking["owner"].get("/api/v1/accounts/").json()["results"][0]["status"] == "suspended"
