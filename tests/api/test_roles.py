"""Who may do what: every operation, asked by everybody.

What to expect follows from the operation's first action and the table in accounts/authority.py, which docs/access.md
shows. What depends on more than that (the role that is given, who created a key, …) is in the table here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.authority import ANY, NEVER, Action, with_implied
from accounts.facts.publish import models_base
from accounts.imports.jobs import receive, work_on_imports
from accounts.models import Account, ApiKey
from accounts.services.credentials import make_management_key
from accounts.services.invitations import invite
from api.base.operations import Operation
from api.urls import OPERATIONS, VIEWS
from quotas.models import RefusalHour, UsageHour
from tests.api.callers import everybody, member_of
from tests.conftest import ACTOR

# +  done (2xx); of a list: and the account's rows are in it
# .  a list, and nothing of the account's is in it
# -  403   0  404   !  401   ?  400: an account has to be named
ROLES = ("viewer", "member", "admin", "owner")
PROGRAMS = ("keys:read", "keys:write", "usage:read", "members:write")
OPERATORS = ("accounts:write", "plans:assign", "keys:write", "usage:read")
COLUMNS = (
    "nobody",
    *ROLES,
    "stranger",
    "staff without permissions",
    "staff for keys",
    "superuser",
    *(f"program {scope}" for scope in PROGRAMS),
    "program of another account",
    "program, revoked",
    *(f"operator {scope}" for scope in OPERATORS),
    "key for models",
)

IRREGULAR = """
                                                    n vmao x skS rwum o r apku M
GET    me/                                          ! ++++ . ... ++++ . ! .... !
PUT    accounts/by-external-id/{external} plan      ! ---- - --+ ---- - ! ---- !
PATCH  accounts/{account}/ plan                     ! ---- 0 0-+ ---- - ! -+-- !
PATCH  accounts/{account}/ status                   ! ---- 0 0-+ ---- - ! +--- !
POST   accounts/{account}/members/ admin            ! ---- - --+ ---- - ! ---- !
POST   accounts/{account}/members/ owner            ! ---- - --+ ---- - ! ---- !
PATCH  accounts/{account}/members/{member}/ admin   ! --++ 0 0-+ ---- 0 ! ---- !
PATCH  accounts/{account}/members/{member}/ owner   ! ---+ 0 0-+ ---- 0 ! ---- !
PATCH  accounts/{account}/members/{an_admin}/       ! --++ 0 0-+ ---- 0 ! +--- !
DELETE accounts/{account}/members/{an_admin}/       ! --++ 0 0-+ ---- 0 ! +--- !
PATCH  accounts/{account}/members/{an_owner}/       ! ---+ 0 0-+ ---- 0 ! +--- !
DELETE accounts/{account}/members/{an_owner}/       ! ---+ 0 0-+ ---- 0 ! +--- !
POST   accounts/{account}/invitations/ admin        ! --++ 0 0-+ ---- 0 ! ---- !
POST   accounts/{account}/invitations/ owner        ! ---+ 0 0-+ ---- 0 ! ---- !
DELETE accounts/{account}/invitations/{to_an_admin}/ ! --++ 0 0-+ ---- 0 ! +--- !
POST   accounts/{account}/invitations/{to_an_admin}/resend/ ! --++ 0 0-+ ---- 0 ! ---- !
PATCH  keys/{members_key}/                          ! -+++ 0 0++ -+-- 0 ! --+- !
DELETE keys/{members_key}/                          ! -+++ 0 0++ -+-- 0 ! --+- !
POST   keys/{members_key}/rotate/                   ! -+++ 0 0++ -+-- 0 ! --+- !
POST   keys/{members_key}/end-rotation/             ! -+++ 0 0++ -+-- 0 ! --+- !
POST   keys/{members_key}/pause/                    ! -+++ 0 0++ -+-- 0 ! --+- !
POST   keys/{members_key}/resume/                   ! -+++ 0 0++ -+-- 0 ! --+- !
POST   management-keys/ keys:write                  ! --++ 0 0++ ---- - ! --+- !
POST   management-keys/ usage:read                  ! --++ 0 0-+ ---- - ! ---- !
POST   management-keys/ members:write               ! --++ 0 0-+ ---- - ! ---- !
DELETE management-keys/{stronger_key}/              ! --++ 0 0-+ ---- - ! ---- !
GET    models/                                      ! ++++ + +++ ++++ + ! ++++ !
GET    plans/                                       ! ++++ + +++ ++++ + ! ++++ !
"""

BODIES: dict[str, dict[str, object]] = {
    "PUT accounts/by-external-id/{external}": {"status": "suspended"},
    "PUT accounts/by-external-id/{external} plan": {"plan": "pro"},
    "PATCH accounts/{account}/": {"name": "new"},
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
# Answers that do not name the account, so nothing in them could reveal it either.
NOT_OF_ACCOUNTS = ("models/", "plans/")
QUERIES = {
    "read_usage": "group_by=account",
    "read_refusals": "group_by=account",
    "read_limits": "key={key}&model=sm",
    "import_keys": "account={account}",
    "read_import_report": "outcome=imported",
}
NAMES = {
    "keys": "key",
    "members": "member",
    "invitations": "invitation",
    "management-keys": "management_key",
    "imports": "import_",
}


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
    return [*regular(), *irregular()]


def irregular() -> Iterator[Row]:
    for line in IRREGULAR.strip().splitlines()[1:]:
        words = line.split()
        cells = "".join(words[-9:])
        assert len(cells) == len(COLUMNS), line
        yield Row(" ".join(words[:-9]), dict(zip(COLUMNS, cells, strict=True)))


def regular() -> Iterator[Row]:
    """Each operation for one object or account; of a list also without naming an account."""
    for route, view in VIEWS:
        path = re.sub(r"([\w-]*)(/?)<(\w+):\w+>", _named, route.path)
        for operation in {one.id: one for verb, one in _operations_of(view)}.values():
            verb = next(verb for verb, one in _operations_of(view) if one is operation)
            query = QUERIES.get(operation.id, "")
            is_of_accounts = not path.startswith((*NOT_OF_ACCOUNTS, "me/"))
            if operation.is_list and "{" not in path and is_of_accounts:
                yield Row(f"{verb} {path}{query and '?'}{query}", expected(operation.who[0], named=False))
            if operation.is_list and "account" in _parameters(operation):
                query = "&".join(filter(None, [query, "account={account}"]))
            if "{" in path + query or verb != "GET":
                yield Row(f"{verb} {path}{query and '?'}{query}", expected(operation.who[0], named=True))


def _named(found: re.Match[str]) -> str:
    before, slash, converter = found.groups()
    name = {"account_id": "account", "external_id": "external"}.get(converter) or NAMES[before]
    return f"{before}{slash}{{{name}}}"


def _operations_of(view: type) -> Iterator[tuple[str, Operation]]:
    for method, operation in OPERATIONS.items():
        if getattr(view, method.__name__, None) is method:
            yield method.__name__.upper(), operation


def _parameters(operation: Operation) -> set[str]:
    return set(operation.query().fields) if operation.query else set()


def expected(action: Action, *, named: bool) -> dict[str, str]:
    """How everybody is answered: where an account or an object of it is named, or for a list of all that they see."""
    is_for_operators_alone = not action.roles and action.management == NEVER
    refused = "-" if named else "."
    unseen = "-" if is_for_operators_alone else "0" if named else "."

    def by_scope(wanted: str, scope: str, otherwise: str = "-") -> str:
        return "+" if wanted == ANY or wanted in with_implied([scope]) else otherwise

    return {
        "nobody": "!",
        **{role: "+" if role in action.roles else refused for role in ROLES},
        "stranger": unseen,
        "staff without permissions": unseen,
        "staff for keys": by_scope(action.operator, "keys:write", refused),
        "superuser": "+",
        **{f"program {scope}": by_scope(action.management, scope) for scope in PROGRAMS},
        "program of another account": "-" if action.management == NEVER else unseen,
        "program, revoked": "!",
        **{f"operator {scope}": by_scope(action.operator, scope) for scope in OPERATORS},
        "key for models": "!",
    }


@pytest.fixture
def account(account):
    account.external_id = "cus_1"
    account.save()
    return account


@pytest.fixture
def places(account, pro_account, issued):
    """Values for the names in braces."""
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
    row = {"account": owner, "key": key.public_id, "model": "sm", "hour": hour, "birth": 1}
    UsageHour.objects.create(**row, allowed=1, refused=1, units=1)
    RefusalHour.objects.create(**row, reason="wrong_secret", calls=1)


def imported(account: Account) -> str:
    """A finished import."""
    job = receive(["name,key\n", "old,of-another-system-00\n"], actor=ACTOR, account=account, dry_run=False)
    work_on_imports(60)
    return job.public_id


# Limits are read from Redis, where only what is committed is published.
COMMITTED = {True: [pytest.mark.django_db(transaction=True)], False: []}
ASKED = [pytest.param(row, id=row.name, marks=COMMITTED[row.path.startswith("limits/")]) for row in rows()]


@pytest.mark.parametrize("row", ASKED)
def test_everybody_may_do_exactly_what_the_table_says(places, account, redis_db, row):
    asking, names = places
    body = {
        name: value.format(**names) if isinstance(value, str) else value
        for name, value in BODIES.get(row.name, {}).items()
    }
    path = "/api/v1/" + row.path.format(**names)
    wrong = {}
    for who, expected in row.expected.items():
        redis_db.delete(
            *redis_db.keys("*throttle:*") or [""]
        )  # all invite the same person, who may get only a few mails a day
        with transaction.atomic():  # rolled back, so that each caller finds the same state
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


def test_every_operation_is_asked():
    asked = {(row.method, row.path.partition("?")[0]) for row in rows()}
    assert len(asked) >= len(OPERATIONS)
    known = {
        (verb, re.sub(r"([\w-]*)(/?)<(\w+):\w+>", _named, route.path))
        for route, view in VIEWS
        for verb, _ in _operations_of(view)
    }
    assert known <= asked


def test_a_revoked_management_key_and_a_suspended_account(places, account):
    """A suspended account's people and programs still see and pay for what they have."""
    asking, _ = places
    models_base(Account).filter(pk=account.pk).update(suspended_at="2026-01-01T00:00:00Z")
    assert asking["program keys:read"].get("/api/v1/keys/").status_code == 200
    assert asking["owner"].get("/api/v1/accounts/").json()["results"][0]["status"] == "suspended"
