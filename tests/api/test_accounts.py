"""Accounts: read and renamed by their people, provisioned by a billing system, exported and closed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, ApiKey, AuditEvent, Invitation, Membership, User
from accounts.services.accounts import close_account, create_account
from accounts.services.closing import close_and_erase
from accounts.services.invitations import invite
from accounts.services.keys import issue_key
from quotas.limits import Limit
from quotas.models import Plan, UsageHour
from store import clients, names
from tests.api.callers import member_of, operator, program_of
from tests.conftest import ACTOR

API = "/api/v1"
ALL = ("accounts:write", "plans:assign", "keys:write", "usage:read")
CUSTOMER = f"{API}/accounts/by-external-id/cus_1"


@pytest.fixture
def billing(catalogue):
    return operator(*ALL)


def put(client, url=CUSTOMER, **body):
    return client.put(url, body, content_type="application/json")


def facts_of(account_id):
    return json.loads(clients.sync_client().hget(names.account(account_id), names.FACTS))


def ask_gate(text):
    ask = {"X-Forwarded-Uri": "/sm/", "X-Forwarded-Method": "GET", "X-Forwarded-For": "192.0.2.1"}
    return Client().get("/auth/", headers={**ask, "Authorization": f"Bearer {text}"}).status_code


def faults(response):
    assert response["Content-Type"] == "application/problem+json", response.content
    return {error["field"]: error["detail"] for error in response.json().get("errors", ())}


# Provisioning.


@pytest.mark.django_db(transaction=True)
def test_the_first_put_makes_the_account_and_the_next_sets_it(billing):
    made = put(billing, name="Acme", plan="free")
    again = put(billing, name="Acme", plan="free")
    moved = put(billing, plan="pro")
    assert (made.status_code, again.status_code, moved.status_code) == (201, 200, 200)
    assert made.json() == again.json() and made.json()["external_id"] == "cus_1"
    assert facts_of(made.json()["id"])["plan"] == "pro" and moved.json()["name"] == "Acme"
    assert billing.get(CUSTOMER).json() == moved.json()
    assert [event.act for event in AuditEvent.objects.filter(act__startswith="account.")] == [
        "account.move",
        "account.create",
    ]


def test_a_new_account_gets_the_default_plan_and_its_external_id_as_name(billing):
    body = put(billing).json()
    assert (body["name"], body["plan"], body["status"]) == ("cus_1", "free", "active")


@pytest.mark.django_db(transaction=True)
def test_a_suspended_account_is_refused_at_the_gate_and_comes_back(billing):
    account = Account.objects.get(public_id=put(billing).json()["id"])
    key = issue_key(account, name="k", actor=ACTOR).text
    assert ask_gate(key) == 200
    put(billing, status="suspended")
    assert ask_gate(key) == 403
    put(billing, status="active")
    assert ask_gate(key) == 200


@pytest.mark.django_db(transaction=True)
def test_the_overrides_are_the_whole_map(billing):
    first = put(billing, overrides={"minute": {"amount": 5, "burst": 2}, "month": {"amount": 9}}).json()
    assert facts_of(first["id"])["overrides"] == {
        "minute": {"amount": 5, "burst": 2},
        "month": {"amount": 9, "burst": None},
    }
    second = put(billing, overrides={"month": {"amount": 10}}).json()
    assert second["overrides"] == {"month": {"amount": 10, "burst": None}} and put(billing).json() == second
    assert put(billing, overrides={}).json()["overrides"] == {} and facts_of(first["id"])["overrides"] == {}


def test_repeating_a_put_writes_nothing(billing):
    put(billing, name="A", plan="pro", overrides={"second": {"amount": 5}}, status="active")
    before = AuditEvent.objects.count()
    put(billing, name="A", plan="pro", overrides={"second": {"amount": 5}}, status="active")
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"plan": "xx"}, "plan", "no such plan"),
        ({"plan": 5}, "plan", "valid string"),
        ({"name": ""}, "name", "blank"),
        ({"name": "x" * 201}, "name", "200"),
        ({"status": "gone"}, "status", "choice"),
        ({"nam": "x"}, "nam", "Unknown field"),
        ({"overrides": {"xx": {"amount": 1}}}, "overrides", "has no limit xx"),
        ({"overrides": {"minute": {"amount": 0}}}, "overrides.minute.amount", "greater"),
        ({"overrides": {"minute": {"amount": 10**10}}}, "overrides", "1000000000"),
        ({"overrides": {"month": {"amount": 5, "burst": 5}}}, "overrides", "burst"),
        ({"overrides": [1]}, "overrides", "dictionary"),
        ({"overrides": {"minute": 5}}, "overrides.minute", "dictionary"),
        ({"overrides": {f"l{n}": {"amount": 1} for n in range(101)}}, "overrides", "At most 100"),
    ],
)
def test_invalid_input_is_refused_and_the_field_is_named(billing, body, field, words):
    response = put(billing, **body)
    found = faults(response)
    assert response.status_code == 400 and words in found.get(field, ""), found
    assert not Account.objects.exists()


@pytest.mark.parametrize("external_id", ["%20", "a%2Fb", "%00", "x" * 201, "é"])
def test_an_external_id_has_only_plain_characters(billing, external_id):
    response = put(billing, f"{API}/accounts/by-external-id/{external_id}")
    assert response.status_code in (400, 404) and not Account.objects.exists()
    unreadable = external_id == "%00"  # refused before any look-up
    assert billing.get(f"{API}/accounts/by-external-id/{external_id}").status_code == (400 if unreadable else 404)


def test_two_accounts_may_have_one_name(billing, account):
    assert put(billing, name=account.name).status_code == 201
    assert put(billing, name="B").json()["name"] == "B" and put(billing, name=account.name).status_code == 200
    assert Account.objects.filter(name=account.name).count() == 2


@pytest.mark.parametrize("name", ["cus_1", "closed {id}", "{other}"])
def test_a_tenants_name_never_gets_in_the_operators_way(billing, account, pro_account, name):
    name = name.format(id=pro_account.public_id, other=pro_account.public_id)
    owner = member_of(account, "owner")
    renamed = owner.patch(f"{API}/accounts/{account.public_id}/", {"name": name}, content_type="application/json")
    assert renamed.status_code == 200
    assert put(billing).status_code == 201 and put(billing, plan="pro").json()["id"] != account.public_id
    confirmed = {"confirm": pro_account.public_id}
    closing = f"{API}/accounts/{pro_account.public_id}/close/"
    assert billing.post(closing, confirmed, content_type="application/json").status_code == 204


def test_no_external_id_is_the_id_of_another_account(billing, account):
    told = put(billing, f"{API}/accounts/by-external-id/{account.public_id}", name="B", plan="pro")
    assert told.status_code == 400 and "An account already has the id" in faults(told)["external_id"]
    id = put(billing).json()["id"]
    for external_id, status in ((account.public_id, 400), (id, 200)):  # its own id is unambiguous
        url = f"{API}/accounts/{id}/"
        told = billing.patch(url, {"external_id": external_id}, content_type="application/json")
        assert told.status_code == status
    assert Account.objects.get(pk=account.pk).plan.name == "free"


@pytest.mark.parametrize(
    "name", ["a\nb", "a\rb", "\x1b[2Jacme", "a\u2028b", "\u202eacme", "a\u200bb", "a\x9bb", "\x7f"]
)
def test_a_name_is_one_printable_line(billing, account, name):
    owner = member_of(account, "owner")
    told = owner.patch(f"{API}/accounts/{account.public_id}/", {"name": name}, content_type="application/json")
    assert told.status_code == 400 and "one line of printable characters" in faults(told)["name"]
    assert "name" in faults(put(billing, name=name))


@pytest.mark.django_db(transaction=True)
def test_many_puts_at_once_make_one_account(billing):
    def ask(number):
        try:
            return put(billing, name="Acme", plan="pro")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(24)))
    assert {answer.status_code for answer in answers} <= {200, 201, 202} and Account.objects.count() == 1
    assert sum(answer.status_code == 201 for answer in answers) <= 1


def test_an_existing_account_can_be_given_an_external_id(billing, account):
    response = billing.patch(
        f"{API}/accounts/{account.public_id}/", {"external_id": "cus_1"}, content_type="application/json"
    )
    assert response.status_code == 200 and billing.get(CUSTOMER).json()["id"] == account.public_id


@pytest.mark.django_db(transaction=True)
def test_a_key_on_behalf_works_at_the_gate(billing):
    account_id = put(billing).json()["id"]
    issued = billing.post(f"{API}/keys/", {"name": "k", "account": account_id}, content_type="application/json")
    assert issued.status_code == 201 and ask_gate(issued.json()["key"]) == 200
    assert "account" in faults(billing.post(f"{API}/keys/", {"name": "k"}, content_type="application/json"))


@pytest.mark.django_db(transaction=True)
def test_provisioning_is_pending_while_redis_is_down(billing, redis_away):
    with redis_away():
        response = put(billing, name="Acme")
    assert (response.status_code, response.json()["state"], response.json()["status"]) == (202, "pending", "active")


# Lists.


def test_accounts_are_filtered_and_ordered(billing, account, pro_account):
    put(billing, status="suspended")

    def found(**query):
        return [row["name"] for row in billing.get(f"{API}/accounts/", query).json()["results"]]

    assert found() == ["acme", "cus_1", "pro-acme"] and found(order="-name") == ["pro-acme", "cus_1", "acme"]
    assert found(order="-created")[0] == "cus_1" and found(plan="pro") == ["pro-acme"]
    assert found(status="suspended") == ["cus_1"] and found(name="ACME") == ["acme", "pro-acme"]
    assert found(status="active", plan="free") == ["acme"]
    close_account(Account.objects.get(external_id="cus_1"), actor=ACTOR)
    assert found(status="closed") == ["cus_1"] and found(status="suspended") == []


@pytest.mark.parametrize(
    "query",
    [
        {"order": "plan"},
        {"plann": "x"},
        {"page_size": "0"},
        {"page_size": "501"},
        {"page_size": "x"},
        {"cursor": "x"},
        {"cursor": "WyJcdWQ4MDAiLDEsZmFsc2Vd"},
        {"cursor": "x" * 2000},
        {"status": "x"},
    ],
)
def test_an_invalid_query_is_refused_and_the_parameter_is_named(billing, query):
    response = billing.get(f"{API}/accounts/", query)
    assert response.status_code == 400 and list(faults(response)) == list(query)


def test_pages_by_name_go_forwards_and_back_without_gaps(billing, catalogue):
    free = Plan.objects.get(name="free")
    made = sorted(create_account(f"a{number % 3}-{number}", free, actor=ACTOR)[0].name for number in range(7))
    url, seen, pages = f"{API}/accounts/?order=name&page_size=3", [], []
    while url:
        page = billing.get(url).json()
        pages.append(page)
        seen += [row["name"] for row in page["results"]]
        url = page["next"]
    assert seen == made and len(pages) == 3
    assert billing.get(pages[2]["previous"]).json()["results"] == pages[1]["results"]
    first = billing.get(pages[1]["previous"]).json()
    assert first["results"] == pages[0]["results"] and first["previous"] is None and first["next"]


def test_rows_with_the_same_name_are_each_shown_once(account):
    made = {issue_key(account, name="same", actor=ACTOR).key.public_id for _ in range(5)}
    client, url, seen = program_of(account, "keys:read"), f"{API}/keys/?order=-name&page_size=2", []
    while url:
        page = client.get(url).json()
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert len(seen) == 5 and set(seen) == made


# Renaming.


def test_an_owner_renames_the_account(account):
    response = member_of(account, "owner").patch(
        f"{API}/accounts/{account.public_id}/", {"name": "New"}, content_type="application/json"
    )
    assert response.json()["name"] == "New" and response.json()["role"] == "owner"


# Export and closing.


@pytest.fixture
def lived_in(account, issued):
    """An account with one of everything that an export contains."""
    member_of(account, "viewer", "vera")
    invite(account, email="guest@example.org", role="member", actor=ACTOR)
    UsageHour.objects.create(
        account=account.public_id,
        key=issued.key.public_id,
        model="sm",
        hour="2026-01-01T10:00:00Z",
        birth=1,
        allowed=3,
        units=3,
    )
    UsageHour.objects.create(
        account=account.public_id,
        key=issued.key.public_id,
        model="sm",
        hour="2026-01-01T10:00:00Z",
        birth=2,
        allowed=4,
        units=4,
    )
    return member_of(account, "owner", "olga")


def test_an_export_has_everything_but_secrets(lived_in, account, issued):
    response = lived_in.get(f"{API}/accounts/{account.public_id}/export/")
    body = json.loads(response.getvalue())
    assert {member["username"] for member in body["members"]} == {"vera", "olga"}
    assert [key["id"] for key in body["keys"]] == [issued.key.public_id] and body["account"]["name"] == "acme"
    assert [(row["allowed"], row["start"]) for row in body["usage"]] == [(7, "2026-01-01T10:00:00Z")]
    assert body["invitations"][0]["email"] == "guest@example.org" and len(body["audit"]) >= 4
    assert issued.text[-44:] not in json.dumps(body) and response["Cache-Control"] == "no-store"


@pytest.mark.django_db(transaction=True)
def test_a_closed_accounts_keys_are_refused_at_once_and_its_names_are_gone(lived_in, account, issued):
    program = program_of(account, "keys:read")
    assert ask_gate(issued.text) == 200
    response = lived_in.post(
        f"{API}/accounts/{account.public_id}/close/", {"confirm": account.public_id}, content_type="application/json"
    )
    assert response.status_code == 204
    assert ask_gate(issued.text) == 403 and program.get(f"{API}/keys/").status_code == 401
    assert not Membership.objects.exists() and not Invitation.objects.exists()
    assert (ApiKey.objects.get().name, ApiKey.objects.get().metadata) == ("erased", {})
    account.refresh_from_db()
    assert account.name == f"closed {account.public_id}"
    assert (
        sum(row.allowed for row in UsageHour.objects.filter(account=account.public_id, key=issued.key.public_id)) == 7
    )
    assert lived_in.get(f"{API}/accounts/{account.public_id}/").status_code == 404


def test_closing_requires_the_id_as_confirmation(lived_in, account):
    for body in ({}, {"confirm": "yes"}, {"confirm": "0" * 8}):
        response = lived_in.post(f"{API}/accounts/{account.public_id}/close/", body, content_type="application/json")
        assert response.status_code == 400 and "confirm" in faults(response)
    assert Account.objects.get(pk=account.pk).closed_at is None


def test_an_operator_can_close_a_closed_account_again(lived_in, account, billing):
    for _ in range(2):
        response = billing.post(
            f"{API}/accounts/{account.public_id}/close/",
            {"confirm": account.public_id},
            content_type="application/json",
        )
        assert response.status_code == 204
    assert AuditEvent.objects.filter(act="account.close").count() == 1


# Costs.


def test_lists_take_the_same_number_of_queries_for_more_rows(billing, account):
    lists = {
        "accounts/": 3,
        "keys/": 5,
        "management-keys/": 2,
        "models/": 2,
        "plans/": 4,
        "audit/": 2,
        f"accounts/{account.public_id}/members/": 3,
        f"accounts/{account.public_id}/invitations/": 3,
    }
    for number in range(2):
        for _ in range(3):
            name = f"{User.objects.count()}"
            member_of(account, "viewer", name)
            issue_key(
                account,
                name=name,
                actor=ACTOR,
                limits=[Limit(name="day", scope="key", amount=9, window="day", model="sm")],
            )
            program_of(account, "keys:read")
            invite(account, email=f"guest{name}@example.org", role="member", actor=ACTOR)
            create_account(f"more {name}", Plan.objects.get(name="pro"), actor=ACTOR)
        billing.get(f"{API}/me/")  # records its use
        found = {}
        for url in lists:
            with CaptureQueriesContext(connection) as counted:
                assert billing.get(f"{API}/{url}").status_code == 200
            found[url] = len(counted)
        assert found == lists, number


def test_a_late_webhook_does_not_restore_the_name_of_an_erased_account(billing):
    account = Account.objects.get(public_id=put(billing, name="Jane Doe Ltd").json()["id"])
    close_and_erase(account, actor=ACTOR)
    told = put(billing, name="Jane Doe Ltd", status="closed")
    assert (told.status_code, told.json()["name"]) == (200, f"closed {account.public_id}")
    named = billing.patch(f"{API}/accounts/{account.public_id}/", {"name": "Jane"}, content_type="application/json")
    assert named.status_code == 409 and Account.objects.get().name == f"closed {account.public_id}"


def test_the_loser_of_a_race_for_an_external_id_is_told_to_try_again(billing, monkeypatch, account):
    id = put(billing).json()["id"]
    monkeypatch.setattr(
        Account, "full_clean", lambda *args, **kwargs: None
    )  # as if the id was taken right after validation
    answer = billing.patch(f"{API}/accounts/{id}/", {"external_id": "acme"}, content_type="application/json")
    assert answer.status_code == 409 and answer["Content-Type"] == "application/problem+json"
