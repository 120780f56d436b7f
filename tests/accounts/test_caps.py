"""How many of each thing an account may have, by whatever way it is created, also concurrently."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from accounts import caps
from accounts.facts.publish import models_base
from accounts.models import Account, ApiKey, AuditEvent, KeySecret, User
from accounts.refused import Refused
from accounts.services.accounts import cap_keys, override_limit
from accounts.services.credentials import make_management_key, make_operator_token
from accounts.services.keys import change_key, end_rotation, issue_key, revoke_key, rotate_key
from accounts.services.roles import set_role
from quotas.catalogue.file import BadCatalogue
from quotas.limits import Limit
from quotas.models import Plan
from tests.accounts.imports.test_reading import file_of, key_number, run
from tests.api.callers import operator, post, program_of
from tests.conftest import ACTOR, CATALOGUE, import_one
from tests.gate.conftest import ask  # noqa: F401

pytestmark = pytest.mark.django_db

ACCOUNTS, KEYS = "/api/v1/accounts/", "/api/v1/keys/"


def issue(account, **more):
    return issue_key(account, name="k", actor=ACTOR, **more)


@pytest.fixture
def capped(account):
    """The account, with room for two keys."""
    cap_keys(account, 2, actor=ACTOR)
    return account


# Keys


def test_a_plan_allows_100_keys_unless_it_says_otherwise(catalogue):
    assert {plan.max_keys for plan in Plan.objects.all()} == {100}
    lines = catalogue(CATALOGUE.replace("[plans.free]", "[plans.free]\n    max_keys = 7"))
    assert lines == ["plan free: max_keys 100 → 7"]
    assert Plan.objects.get(name="free").max_keys == 7


@pytest.mark.parametrize("value", ["0", "-1", "1000001", "true", '"many"', "1.5"])
def test_a_plans_max_keys_is_a_whole_number_in_range(catalogue, value):
    with pytest.raises(BadCatalogue, match="max_keys"):
        catalogue(CATALOGUE.replace("[plans.free]", f"[plans.free]\n    max_keys = {value}"))


def test_an_account_gets_as_many_keys_as_its_plan_allows_and_a_hint_at_the_cap(catalogue, account):
    catalogue(CATALOGUE.replace("[plans.free]", "[plans.free]\n    max_keys = 2"))
    issue(account)
    issue(account)
    with pytest.raises(Refused, match=r"as many keys as the plan free allows: 2 .* Revoke .* higher max_keys"):
        issue(account)
    cap_keys(account, 3, actor=ACTOR)
    issue(account)
    with pytest.raises(Refused, match="as many keys as it may have: 3"):
        issue(account)


def test_an_account_may_be_allowed_no_keys_at_all(account):
    cap_keys(account, 0, actor=ACTOR)
    with pytest.raises(Refused, match="max_keys"):
        issue(account)
    (outcome,) = run(file_of(f"acme,one,{key_number(1)}"))
    assert outcome.word == "refused" and "max_keys" in outcome.why


def test_revoked_and_expired_keys_do_not_count(capped):
    first, second = issue(capped).key, issue(capped).key
    revoke_key(first, actor=ACTOR)
    models_base(ApiKey).filter(pk=second.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    issue(capped)
    issue(capped)
    with pytest.raises(Refused):
        issue(capped)


def test_reviving_an_expired_key_needs_room(capped):
    expired = issue(capped).key
    models_base(ApiKey).filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    issue(capped)
    other = issue(capped).key
    for ends in (None, timezone.now() + timedelta(days=1)):
        with pytest.raises(Refused, match="as many keys"):
            change_key(ApiKey.objects.get(pk=expired.pk), expires_at=ends, actor=ACTOR)
    change_key(other, expires_at=timezone.now() + timedelta(days=1), actor=ACTOR)
    revoke_key(other, actor=ACTOR)
    change_key(ApiKey.objects.get(pk=expired.pk), expires_at=None, actor=ACTOR)


@pytest.mark.django_db(transaction=True)
def test_concurrent_issues_cannot_pass_the_cap(account):
    cap_keys(account, 5, actor=ACTOR)

    def try_to(_) -> bool:
        try:
            issue(Account.objects.get(pk=account.pk))
        except Refused:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(try_to, range(24))) == 5
    assert ApiKey.objects.count() == 5


def by_operators_token(account):
    answer = post(operator("keys:write"), KEYS, account=account.public_id, name="k")
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (409, "conflict")
    assert "max_keys" in answer.json()["detail"]


def by_management_key(account):
    answer = post(program_of(account, "keys:write"), KEYS, name="k")
    assert answer.status_code == 409 and "max_keys" in answer.json()["detail"]


def by_the_command(account):
    with pytest.raises(CommandError, match="max_keys"):
        call_command("issue_key", account=account.name, name="k", stdout=StringIO())


def by_import(account):
    with pytest.raises(Refused, match="max_keys"):
        import_one(account)


@pytest.mark.parametrize("way", [by_operators_token, by_management_key, by_the_command, by_import])
def test_every_way_to_issue_keys_is_capped(capped, way):
    issue(capped)
    issue(capped)
    way(capped)
    assert ApiKey.objects.count() == 2


def test_an_operator_sets_and_removes_an_accounts_cap_and_the_audit_log_shows_it(account):
    billing = operator("plans:assign")
    url = f"{ACCOUNTS}{account.public_id}/"
    answer = billing.patch(url, {"max_keys": 500}, content_type="application/json")
    assert (answer.status_code, answer.json()["max_keys"]) == (200, 500)
    event = AuditEvent.objects.latest("id")
    assert event.before and event.after
    assert (event.act, event.before["max_keys"], event.after["max_keys"]) == ("account.cap_keys", None, 500)
    assert billing.patch(url, {"name": "x"}, content_type="application/json").status_code == 403
    answer = billing.patch(url, {"max_keys": None}, content_type="application/json")
    assert (answer.status_code, answer.json()["max_keys"]) == (200, None)


def test_a_request_without_max_keys_leaves_it_unchanged(account):
    both = operator("plans:assign", "accounts:write")
    url = f"{ACCOUNTS}by-external-id/cus_1"
    assert both.put(url, {"plan": "free", "max_keys": 7}, content_type="application/json").json()["max_keys"] == 7
    assert both.put(url, {"plan": "pro"}, content_type="application/json").json()["max_keys"] == 7


def test_a_tenant_cannot_raise_its_own_cap(account):
    from tests.api.callers import member_of

    answer = member_of(account, "owner").patch(
        f"{ACCOUNTS}{account.public_id}/", {"max_keys": 500}, content_type="application/json"
    )
    assert answer.status_code == 403


# Per key


NETWORKS = [f"203.0.113.{number}" for number in range(21)]
LIMITS = [
    Limit(name=f"l{number}", scope="key", amount=5, window=window, unit=unit, model=model)
    for number, (window, unit, model) in enumerate(
        [(w, u, m) for w in ("minute", "hour", "day") for u in ("requests", "units") for m in ("*", "sm")]
    )
]
TOO_MUCH = {
    "networks": NETWORKS,
    "limits": LIMITS[:11],
    "models": ["sm"] + [f"m{number}" for number in range(100)],
}


@pytest.mark.parametrize("field", TOO_MUCH)
def test_a_key_has_a_limited_number_of_everything(account, issued, field):
    for act in (
        lambda **more: issue(account, **more),
        lambda **more: change_key(issued.key, actor=ACTOR, **more),
    ):
        with pytest.raises(ValidationError, match=f"A key can have at most .* {field}"):
            act(**{field: TOO_MUCH[field]})
    assert ApiKey.objects.count() == 1


def test_a_key_may_use_every_cap_in_full(account):
    issue(account, networks=NETWORKS[:20], limits=LIMITS[:10])


def test_an_older_key_above_a_cap_can_still_be_renamed(issued):
    models_base(ApiKey).filter(pk=issued.key.pk).update(networks=NETWORKS)
    change_key(ApiKey.objects.get(), name="other", actor=ACTOR)
    assert ApiKey.objects.get().networks == NETWORKS


# Secrets


def works(ask, *texts: str) -> list[bool]:  # noqa: F811
    return [ask(text).status == 200 for text in texts]


def rotate(key, grace: timedelta) -> str:
    return rotate_key(key, grace=grace, actor=ACTOR).text


@pytest.mark.django_db(transaction=True)
def test_after_a_rotation_with_seven_days_and_one_with_none_no_old_secret_works(issued, ask):  # noqa: F811
    second = rotate(issued.key, timedelta(days=7))
    assert works(ask, issued.text, second) == [True, True]
    third = rotate(issued.key, timedelta(0))
    assert works(ask, issued.text, second, third) == [False, False, True]


@pytest.mark.django_db(transaction=True)
def test_after_many_rotations_the_two_newest_secrets_work(issued, ask):  # noqa: F811
    texts = [issued.text, *(rotate(issued.key, timedelta(days=7)) for _ in range(7))]
    assert works(ask, *texts) == [False] * 6 + [True] * 2
    assert KeySecret.objects.count() == 4  # the two that may work, and two by which the log knows old ones


def test_a_longer_grace_period_does_not_extend_that_of_the_previous_secret(issued):
    rotate(issued.key, timedelta(days=7))
    end_rotation(issued.key, actor=ACTOR)
    ended = KeySecret.objects.earliest("id").expires_at
    rotate(issued.key, timedelta(days=7))
    assert KeySecret.objects.earliest("id").expires_at == ended


def test_the_row_of_an_imported_secret_outlives_its_rotations(account):
    key = import_one(account).key
    for _ in range(6):
        rotate(key, timedelta(0))
    assert KeySecret.objects.filter(is_imported=True).count() == 1
    assert KeySecret.objects.count() == 4 + 1


# Per account, besides keys


def test_an_account_has_a_limited_number_of_active_management_keys(account, pro_account, monkeypatch):
    from accounts.services.credentials import revoke_credential

    monkeypatch.setattr(caps, "MOST_MANAGEMENT_KEYS", 2)
    first, _ = make_management_key(account, name="k", scopes=["keys:read"], actor=ACTOR)
    make_management_key(account, name="k", scopes=["keys:read"], actor=ACTOR)
    with pytest.raises(Refused, match="2 management keys"):
        make_management_key(account, name="k", scopes=["keys:read"], actor=ACTOR)
    make_management_key(pro_account, name="k", scopes=["keys:read"], actor=ACTOR)  # which has its own number
    revoke_credential(first, actor=ACTOR)
    make_management_key(account, name="k", scopes=["keys:read"], actor=ACTOR)


def test_the_number_of_operator_tokens_is_limited(account, monkeypatch):
    monkeypatch.setattr(caps, "MOST_OPERATOR_TOKENS", 1)
    make_operator_token(name="k", scopes=["keys:write"], actor=ACTOR)
    with pytest.raises(Refused, match="1 operator tokens"):
        make_operator_token(name="k", scopes=["keys:write"], actor=ACTOR)


def test_an_account_has_a_limited_number_of_members(account, pro_account, monkeypatch):
    monkeypatch.setattr(caps, "MOST_MEMBERS", 1)
    first, second = User.objects.create_user("a"), User.objects.create_user("b")
    set_role(account, first, "owner", actor=ACTOR)
    with pytest.raises(Refused, match="1 members"):
        set_role(account, second, "viewer", actor=ACTOR)
    set_role(pro_account, second, "owner", actor=ACTOR)
    set_role(account, first, "admin", actor=ACTOR)


def test_an_account_has_a_limited_number_of_overrides(account, monkeypatch):
    monkeypatch.setattr(caps, "MOST_OVERRIDES", 1)
    override_limit(account, "minute", 7, actor=ACTOR)
    override_limit(account, "minute", 8, actor=ACTOR)
    with pytest.raises(Refused, match="1 overrides"):
        override_limit(account, "month", 7, actor=ACTOR)
