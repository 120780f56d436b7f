from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import timedelta
from io import BytesIO

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, AuditEvent, KeySecret, Membership, OutboxRow, User
from accounts.services.accounts import create_account, suspend_account
from accounts.services.acts import Actor
from accounts.services.keys import change_key, issue_key, rotate_key
from accounts.services.roles import set_role
from api.base.resource import MOST_BODY_BYTES, SmallJSON, TooLarge
from quotas.limits import Limit
from quotas.models import Plan
from store import clients, names
from tests.api.callers import member_of

ACTOR = Actor("tests")
KEYS = "/api/v1/keys/"
JSON = "application/json"


def post(client, **body):
    return client.post(KEYS, json.dumps(body), content_type=JSON)


def facts_of(key_id):
    return json.loads(clients.sync_client().hget(names.account(key_id[:8]), names.field(names.FACTS, key_id)))


def faults(response, status=400):
    """The fields of a problem document with their errors."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status and body["type"].endswith(f"/errors/{body['type'].rpartition('/')[2]}")
    found: dict[str, str] = {}
    for error in body.get("errors", ()):
        found[error["field"]] = found.get(error["field"], "") + error["detail"]
    return found


# Issuing.


@pytest.mark.django_db(transaction=True)
def test_an_issued_key_opens_the_gate_and_its_text_is_shown_once(owner, account):
    response = post(owner, name="mine")
    body = response.json()
    assert response.status_code == 201 and "no-store" in response["Cache-Control"]
    ask = {"X-Forwarded-Uri": "/sm/", "X-Forwarded-Method": "GET", "X-Forwarded-For": "192.0.2.1"}
    assert Client().get("/auth/", headers={**ask, "Authorization": f"Bearer {body['key']}"}).status_code == 200
    assert body["key"][-44:] not in owner.get(KEYS).content.decode()
    assert body["account"] == account.public_id and body["key"].startswith(body["start"])


@pytest.mark.django_db(transaction=True)
def test_everything_that_was_asked_for_is_in_the_answer_and_at_the_gate(owner, account):
    limit = {"name": "tight", "amount": 5, "window": "minute", "unit": "units", "model": "sm", "burst": 2}
    asked = {
        "name": "all",
        "models": ["sm"],
        "networks": ["192.0.2.0/24"],
        "methods": ["POST"],
        "limits": [limit],
        "expires_at": "2099-12-31T23:00:00Z",
        "metadata": {"team": "nlp"},
    }
    body = post(owner, account=account.public_id, **asked).json()
    assert {name: body[name] for name in asked} == asked
    facts = facts_of(body["id"])
    assert (facts["models"], facts["networks"], facts["methods"]) == (["sm"], ["192.0.2.0/24"], ["POST"])
    assert facts["limits"][0]["burst"] == 2 and facts["expires"] == 4102441200


def test_times_in_other_zones_are_answered_in_utc(owner):
    assert post(owner, name="k", expires_at="2099-01-01T01:00:00+02:00").json()["expires_at"] == "2098-12-31T23:00:00Z"


def test_the_audit_log_records_who_issued_a_key_and_from_where(owner):
    body = post(owner, name="mine").json()
    event = AuditEvent.objects.first()
    assert event is not None
    assert (event.actor, event.address, event.act, event.subject) == ("olga", "192.0.2.7", "key.issue", body["id"])


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "name", "required"),
        ({"name": ""}, "name", "blank"),
        ({"name": " \t"}, "name", "blank"),
        ({"name": "x" * 201}, "name", "200 characters"),
        ({"name": 5}, "name", "valid string"),
        ({"name": "a\x00b"}, "name", "Null characters"),
        ({"name": "\ud800"}, "name", "Surrogate"),
        ({"name": "k", "expire_at": "2099-01-01T00:00:00Z"}, "expire_at", "Unknown field"),
        ({"name": "k", "\ud800": 1}, "?", "Unknown field"),
        ({"name": "k", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at", "passed"),
        ({"name": "k", "expires_at": "2099-01-01T00:00:00"}, "expires_at", "offset"),
        ({"name": "k", "expires_at": "tomorrow"}, "expires_at", "wrong format"),
        ({"name": "k", "expires_at": 4102444800}, "expires_at", "wrong format"),
        ({"name": "k", "models": ["xx"]}, "models", "Unknown model xx"),
        ({"name": "k", "models": []}, "models", "at least one"),
        ({"name": "k", "models": "sm"}, "models", "list"),
        ({"name": "k", "models": [1]}, "models[0]", "valid string"),
        ({"name": "k", "networks": ["10.0.0.1/8"]}, "networks", "host bits"),
        ({"name": "k", "networks": None}, "networks", "null"),
        ({"name": "k", "methods": ["get"]}, "methods[0]", "not a valid choice"),
        ({"name": "k", "metadata": [1]}, "metadata", "object"),
        ({"name": "k", "metadata": {"a": "x" * 9000}}, "metadata", "8 KB"),
        ({"name": "k", "metadata": {"a": "\x00"}}, "metadata", "null character"),
        ({"name": "k", "metadata": {"a": "\ud800"}}, "metadata", "JSON can't represent"),
        ({"name": "k", "metadata": {"a": {"\x00": 1}}}, "metadata", "null character"),
        ({"name": "k", "limits": [{}]}, "limits[0].name", "required"),
        ({"name": "k", "limits": {"a": 1}}, "limits", "list"),
        ({"name": "k", "limits": [7]}, "limits[0]", "dictionary"),
        ({"name": "k", "limits": [{"name": "l", "amount": "5", "window": "day"}]}, "limits[0].amount", "integer"),
        ({"name": "k", "limits": [{"name": "l", "amount": True, "window": "day"}]}, "limits[0].amount", "integer"),
        ({"name": "k", "limits": [{"name": "l", "amount": 0, "window": "day"}]}, "limits[0].amount", "greater"),
        (
            {"name": "k", "limits": [{"name": "l", "amount": 10**10, "window": "hour"}]},
            "limits[0].amount",
            "1000000000",
        ),
        ({"name": "k", "limits": [{"name": "l", "amount": 1, "window": "year"}]}, "limits[0].window", "choice"),
        ({"name": "k", "limits": [{"name": "l", "amount": 1, "window": []}]}, "limits[0].window", "choice"),
        (
            {"name": "k", "limits": [{"name": "l", "amount": 1, "window": "day", "burst": 2}]},
            "limits[0].burst",
            "no burst",
        ),
        (
            {"name": "k", "limits": [{"name": "l", "amount": 1, "window": "day", "x": 2}]},
            "limits[0].x",
            "Unknown field",
        ),
        (
            {"name": "k", "limits": [{"name": "l", "amount": 1, "window": "day", "model": "xx"}]},
            "limits",
            "Unknown model xx",
        ),
        ({"name": "k", "limits": [{"name": "a b", "amount": 1, "window": "day"}]}, "limits", "a b: Use up to 63"),
        (
            {"name": "k", "limits": [{"name": "l", "amount": 1, "window": "day"}] * 2},
            "limits",
            "two limits are named l",
        ),
    ],
)
def test_invalid_input_is_refused_and_the_field_is_named(owner, body, field, words):
    found = faults(post(owner, **body))
    assert field in found and words in found[field], found
    assert not ApiKey.objects.exists()


def test_a_limit_without_room_for_one_call_is_refused(pro_account):
    limit = {"name": "tiny", "amount": 3, "window": "day", "unit": "units"}
    assert "a call to lg costs 5" in faults(post(member_of(pro_account, "owner"), name="k", limits=[limit]))["limits"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"\xff\xfe", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b"7", 400),
        (b'{"name": NaN}', 400),
        (b'{"name": "k", "metadata": {"a": 1e999}}', 400),
        (b"[" * 100_000, 400),
        (b'{"name": "k", "metadata": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}", 400),
        (b'{"name": "' + b"x" * 300_000 + b'"}', 413),
        (b'{"name": ' + b"1" * 5000 + b"}", 400),
    ],
)
def test_bodies_that_are_not_a_json_object_are_refused(owner, raw, status):
    response = owner.post(KEYS, raw, content_type=JSON)
    assert response.status_code == status, response.content
    assert b"Traceback" not in response.content


def test_the_parser_bounds_what_it_reads_by_itself():
    """Whatever stands in front of it: authsvc/bodies.py allows uploads more than JSON."""
    at_most = b'"' + b"x" * (MOST_BODY_BYTES - 2) + b'"'
    assert len(SmallJSON().parse(BytesIO(at_most))) == MOST_BODY_BYTES - 2
    with pytest.raises(TooLarge):
        SmallJSON().parse(BytesIO(at_most + b" "))


def test_a_wrong_media_type_method_or_address_is_refused_as_a_problem_document(owner):
    faults(owner.post(KEYS, {"name": "k"}), 415)
    faults(owner.put(KEYS, "{}", content_type=JSON), 405)
    faults(owner.get(KEYS, headers={"Accept": "text/html"}), 406)
    for path in ("/api/v1/", "/api/v1/nothing", "/api/v1/keys/short/"):
        faults(owner.get(path), 404)
    faults(owner.get("/api/v1/keys/%00000000000000000/"), 400)


def test_an_account_must_be_named_unless_there_is_only_one(owner, account, pro_account):
    set_role(pro_account, User.objects.get(username="olga"), "member", actor=ACTOR)
    found = faults(post(owner, name="k"))
    assert account.public_id in found["account"] and pro_account.public_id in found["account"]
    assert post(owner, name="k", account=pro_account.public_id).json()["account"] == pro_account.public_id


def test_a_closed_account_cannot_be_issued_a_key(owner, account):
    account.closed_at = timezone.now()
    account.save()
    faults(post(owner, name="k"), 409)


# Permissions.


@pytest.mark.parametrize(("role", "status"), [("owner", 201), ("admin", 201), ("member", 201), ("viewer", 403)])
def test_who_may_issue(account, role, status):
    assert post(member_of(account, role), name="k").status_code == status
    assert ApiKey.objects.count() == (status == 201)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("role", "status"), [("owner", 204), ("admin", 204), ("member", 403), ("viewer", 403)])
def test_who_may_revoke_a_key_that_somebody_else_created(account, issued, role, status):
    response = member_of(account, role).delete(f"{KEYS}{issued.key.public_id}/")
    assert response.status_code == status
    assert facts_of(issued.key.public_id)["revoked"] is (status == 204)


def test_members_may_revoke_keys_that_they_created(account):
    client = member_of(account, "member")
    assert client.delete(f"{KEYS}{post(client, name='k').json()['id']}/").status_code == 204


def test_viewers_may_not_even_if_they_created_them_as_members(account):
    client = member_of(account, "member", "mia")
    id = post(client, name="k").json()["id"]
    set_role(account, User.objects.get(username="mia"), "viewer", actor=ACTOR)
    assert client.get(f"{KEYS}{id}/").status_code == 200
    assert client.delete(f"{KEYS}{id}/").status_code == 403


def test_a_revoked_key_may_be_revoked_again(owner, issued):
    for _ in range(2):
        assert owner.delete(f"{KEYS}{issued.key.public_id}/").status_code == 204
    assert AuditEvent.objects.filter(act="key.revoke").count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_belongs_to_others_is_as_unknown_as_what_does_not_exist(owner, pro_account, pro_key):
    other = owner.delete(f"{KEYS}{pro_key.key.public_id}/")
    missing = owner.delete(f"{KEYS}{'0' * 16}/")
    assert (other.status_code, other.content) == (missing.status_code, missing.content) == (404, other.content)
    other, missing = post(owner, name="k", account=pro_account.public_id), post(owner, name="k", account="00000000")
    assert (other.status_code, other.content) == (missing.status_code, missing.content) == (404, other.content)
    assert owner.get(KEYS).json()["results"] == [] and facts_of(pro_key.key.public_id)["revoked"] is False


def test_strangers_are_told_to_sign_in(account):
    for response in (Client().get(KEYS), post(Client(), name="k")):
        faults(response, 401)
        assert response["WWW-Authenticate"]


@pytest.mark.django_db(transaction=True)
def test_writing_needs_a_csrf_token(owner, account, issued):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="olga"))
    faults(post(strict, name="k"), 403)
    faults(strict.delete(f"{KEYS}{issued.key.public_id}/"), 403)
    assert ApiKey.objects.count() == 1 and facts_of(issued.key.public_id)["revoked"] is False


# Listing.


def test_a_listed_key_has_all_its_fields_and_no_secret(owner, issued):
    change_key(issued.key, limits=[Limit(name="day", scope="key", amount=9, window="day")], actor=ACTOR)
    used = timezone.now().replace(microsecond=0)
    secret = KeySecret.objects.get()
    secret.last_used_at, secret.last_used_from = used, "2001:db8::7"
    secret.save()
    rotated = rotate_key(issued.key, grace=timedelta(1), actor=ACTOR)
    key = owner.get(KEYS).json()["results"][0]
    assert set(key) == {
        "id",
        "account",
        "name",
        "start",
        "models",
        "networks",
        "methods",
        "limits",
        "status",
        "expires_at",
        "paused_at",
        "revoked_at",
        "created_by",
        "made_with",
        "created_at",
        "last_used_at",
        "secrets",
        "metadata",
    }
    new, old = key["secrets"]
    assert (new["expires_at"], new["last_used_at"], new["last_used_from"]) == (None, None, None)
    assert (old["last_used_at"], old["last_used_from"]) == (key["last_used_at"], "2001:db8::7")
    assert old["expires_at"] > old["created_at"] and issued.text.startswith(old["start"])
    assert key["last_used_at"] == used.isoformat().replace("+00:00", "Z") and rotated.text.startswith(key["start"])
    assert key["limits"] == [
        {"name": "day", "amount": 9, "window": "day", "unit": "requests", "model": "*", "burst": None}
    ]


@pytest.mark.parametrize("role", Membership.Role.values)
def test_every_role_sees_the_keys(account, issued, role):
    keys = member_of(account, role).get(KEYS).json()["results"]
    assert [key["id"] for key in keys] == [issued.key.public_id]


def test_pages_are_newest_first_without_gaps(owner, account):
    made = [issue_key(account, name=f"k{number}", actor=ACTOR).key.public_id for number in range(5)]
    seen, url = [], f"{KEYS}?page_size=2"
    while url:
        page = owner.get(url).json()
        seen += [key["id"] for key in page["results"]]
        url = page["next"]
    assert seen == made[::-1]


@pytest.mark.parametrize("cursor", ["x", "cD14", "cD0tMQ==", "cD05OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk=", "bz0tMQ=="])
def test_a_cursor_that_we_did_not_make_is_refused_and_named(owner, issued, cursor):
    assert "cursor" in faults(owner.get(KEYS, {"cursor": cursor}))


@pytest.mark.parametrize(
    ("order", "place"),
    [
        ("created", [None, 2**63]),
        ("created", [None, -1]),
        ("created", [None, True]),
        ("created", [None]),
        ("name", ["a\0", 1]),
        ("name", ["\ud800", 1]),
        ("name", [1, 1]),
    ],
)
def test_a_cursor_whose_place_cannot_be_is_refused_and_named(owner, issued, order, place):
    def cursor(*values) -> str:
        return urlsafe_b64encode(json.dumps([*values, False]).encode()).decode()

    good = None if order == "created" else "a"
    assert owner.get(KEYS, {"order": order, "cursor": cursor(good, 1)}).status_code == 200
    assert "cursor" in faults(owner.get(KEYS, {"order": order, "cursor": cursor(*place)}))


def test_the_list_takes_the_same_number_of_queries_for_more_keys(owner, account, issued, django_assert_num_queries):
    change_key(issued.key, limits=[Limit(name="day", scope="key", amount=9, window="day", model="sm")], actor=ACTOR)
    with django_assert_num_queries(6):  # session, user, keys, secrets, limits, models
        owner.get(KEYS)
    more, _ = create_account("more", Plan.objects.get(name="pro"), actor=ACTOR)
    set_role(more, User.objects.get(username="olga"), "viewer", actor=ACTOR)
    for number in range(5):
        key = issue_key(more, name=f"k{number}", actor=ACTOR).key
        limits = [Limit(name="day", scope="key", amount=9, window="day", model="lg")]
        change_key(key, limits=limits, actor=ACTOR)
        rotate_key(key, grace=timedelta(1), actor=ACTOR)
    with django_assert_num_queries(6):
        assert len(owner.get(KEYS).json()["results"]) == 6


def test_a_key_of_a_suspended_account_is_still_listed(owner, account, issued):
    suspend_account(account, actor=ACTOR)
    assert len(owner.get(KEYS).json()["results"]) == 1


# Outages.


@pytest.mark.django_db(transaction=True)
def test_an_issued_key_is_pending_while_redis_is_down(owner, redis_away):
    with redis_away():
        response = post(owner, name="k")
    body = response.json()
    assert response.status_code == 202 and body["state"] == "pending" and body["key"].startswith("ask_")
    assert OutboxRow.objects.filter(part="key", subject=body["id"]).exists()


@pytest.mark.django_db(transaction=True)
def test_a_revocation_is_pending_while_redis_is_down(owner, issued, redis_away):
    with redis_away():
        response = owner.delete(f"{KEYS}{issued.key.public_id}/")
    assert (response.status_code, response.json()["state"]) == (202, "pending")


def _gone(*args):
    raise OperationalError("connection to server at 10.1.2.3 failed")


def test_without_the_database_the_answer_is_503_and_reveals_nothing_else(owner, issued):
    with connection.execute_wrapper(_gone):
        responses = [owner.get(KEYS), post(owner, name="k"), owner.delete(f"{KEYS}{issued.key.public_id}/")]
    for response in responses:
        faults(response, 503)
        assert response["Retry-After"] and b"10.1.2.3" not in response.content


def test_an_internal_error_reveals_nothing(owner, monkeypatch):
    monkeypatch.setattr("api.keys.issue_key", lambda *args, **kwargs: 1 / 0)
    response = post(owner, name="k")
    faults(response, 500)
    assert b"division" not in response.content and b"Traceback" not in response.content
