"""The keys' pages: the table, a new key whose secret is seen once, and what the buttons do at the gate."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.facts.publish import models_base
from accounts.models import ApiKey, AuditEvent, KeySecret, User
from accounts.services.accounts import cap_keys, close_account
from accounts.services.keys import issue_key, pause_key, revoke_key, rotate_key
from accounts.services.roles import set_role
from console.keys.form import read_metadata
from quotas.limits import Limit
from quotas.models import ServedModel
from store.throttles import Throttle
from tests.conftest import ACTOR
from tests.console.conftest import acting, person

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = re.compile(r"ask_[0-9A-Za-z]{16}_[0-9A-Za-z]{44}")


STATES = ("fresh", "unused", "revoked", "rotating", "paused")


def page_of(account, rest: str = "") -> str:
    return f"/console/{account.public_id}/keys/{rest}"


def names_in(html: str) -> list[str]:
    return re.findall(r'<a class="name" href="[^"]+">([^<]+)</a>', html)


def told(client: Client, path: str) -> str:
    """The notices of the next page."""
    return " ".join(
        re.findall(r'<div class="note [^>]*role="status">.*?<p>(.*?)</p>', client.get(path).content.decode(), re.S)
    )


def filled_in(**changes) -> dict[str, object]:
    return {"name": "ci", "which": "all", "expiry": "never", "key_id": "abcdEFGH", **changes}


# The table


@pytest.fixture
def many(account):
    """A key in each state, named for it."""
    now = timezone.now()
    keys = {name: issue_key(account, name=name, actor=ACTOR).key for name in STATES}
    keys["expiring"] = issue_key(account, name="expiring", expires_at=now + timedelta(days=3), actor=ACTOR).key
    keys["expired"] = issue_key(account, name="expired", expires_at=now + timedelta(days=1), actor=ACTOR).key
    models_base(ApiKey).filter(name="expired").update(expires_at=now - timedelta(days=1))
    models_base(ApiKey).filter(name="unused").update(created_at=now - timedelta(days=100))
    revoke_key(keys["revoked"], actor=ACTOR)
    rotate_key(keys["rotating"], grace=timedelta(days=1), actor=ACTOR)
    pause_key(keys["paused"], actor=ACTOR)
    return keys


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("", {*STATES, "expiring", "expired"}),
        ("active", {"fresh", "unused", "rotating", "expiring"}),
        ("expiring", {"expiring"}),
        ("unused", {"unused"}),
        ("rotating", {"rotating"}),
        ("paused", {"paused"}),
        ("ended", {"revoked", "expired"}),
        ("nonsense", {*STATES, "expiring", "expired"}),
    ],
)
def test_keys_are_filtered_by_state(account, owner, many, state, shown):
    assert set(names_in(owner.get(page_of(account), {"state": state}).content.decode())) == shown


def test_each_key_wears_its_state(account, owner, many):
    html = owner.get(page_of(account)).content.decode()
    badges = dict(re.findall(r'<a class="name"[^>]*>([^<]+)</a>.*?<span class="badge \w*">([^<]+)</span>', html, re.S))
    assert badges == {
        "fresh": "Active",
        "unused": "Unused",
        "revoked": "Revoked",
        "rotating": "Rotating",
        "expiring": "Expires soon",
        "expired": "Expired",
        "paused": "Paused",
    }


def test_a_key_is_found_by_its_name_or_by_what_it_begins_with(account, owner, many):
    text = KeySecret.objects.filter(key=many["fresh"]).first()
    assert text is not None
    for search in ("FRES", text.start, many["fresh"].public_id):
        assert names_in(owner.get(page_of(account), {"q": search}).content.decode()) == ["fresh"]
    assert "No key matches" in owner.get(page_of(account), {"q": "nothing"}).content.decode()


@pytest.mark.parametrize("sort", ["name", "-name", "used", "-used", "expires", "-expires", "created", "-created"])
def test_keys_are_sorted_by_every_column(account, owner, many, sort):
    models_base(KeySecret).filter(key=many["unused"]).update(last_used_at=timezone.now() - timedelta(days=95))
    names = names_in(owner.get(page_of(account), {"sort": sort}).content.decode())
    assert len(names) == 7
    if sort.endswith("name"):
        assert names == sorted(names, reverse=sort.startswith("-"))
    if sort == "-used":
        assert names[0] == "unused"
    if sort == "expires":
        assert names[:2] == ["expired", "expiring"]


def test_the_table_has_pages(account, owner):
    for number in range(30):
        issue_key(account, name=f"k{number:02}", actor=ACTOR)
    first = owner.get(page_of(account), {"sort": "name"}).content.decode()
    second = owner.get(page_of(account), {"sort": "name", "page": 2}).content.decode()
    assert names_in(first) + names_in(second) == [f"k{number:02}" for number in range(30)]
    assert 'rel="next"' in first and 'rel="prev"' in second and "26–30 of 30" in second


def test_htmx_gets_the_table_alone(account, owner, many):
    answer = owner.get(page_of(account), {"q": "fresh"}, headers={"HX-Request": "true", "HX-Target": "table"})
    assert names_in(answer.content.decode()) == ["fresh"] and "<html" not in answer.content.decode()
    restored = owner.get(page_of(account), headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert "<html" in restored.content.decode()


def test_an_account_without_keys_is_led_to_its_first(account, owner):
    assert "No keys yet" in owner.get(page_of(account)).content.decode()
    viewer = person("vera", account, "viewer").get(page_of(account)).content.decode()
    assert "Ask a member" in viewer and "keys/new" not in viewer


def test_a_full_account_is_told_before_the_form(account, owner, issued):
    cap_keys(account, 1, actor=ACTOR)
    html = owner.get(page_of(account)).content.decode()
    assert "keys of this account are in use" in html and "New key" not in html
    answer = owner.post(page_of(account, "new/"), filled_in())
    assert answer.status_code == 409 and "as many keys as" in answer.content.decode()


# A new key


def test_a_new_key_works_at_the_gate_and_is_what_was_asked_for(account, owner, ask):
    wanted = filled_in(
        which="some",
        models=["sm"],
        expiry="30",
        networks="203.0.113.0/24\n2001:db8::/32",
        methods=["POST"],
        metadata="team: search",
        amount_0="100",
        unit_0="requests",
        window_0="day",
    )
    answer = owner.post(page_of(account, "new/"), wanted)
    assert answer.status_code == 201
    (secret,) = set(SECRET.findall(answer.content.decode()))
    assert ask(secret, x_forwarded_for="203.0.113.9").status == 200
    assert ask(secret, x_forwarded_for="192.0.2.1").status == 403
    key = ApiKey.objects.get()
    assert (key.name, key.narrowed_to, key.methods, key.metadata) == ("ci", ["sm"], ["POST"], {"team": "search"})
    assert key.networks == ["203.0.113.0/24", "2001:db8::/32"] and key.created_by.username == "ada"  # type: ignore[union-attr]
    assert timedelta(days=29) < key.expires_at - timezone.now() < timedelta(days=31)  # type: ignore[operator]
    assert [(limit.amount, limit.window) for limit in key.limits.all()] == [(100, "day")]


def test_the_secret_is_seen_once(account, owner, caplog):
    caplog.set_level(logging.DEBUG)
    answer = owner.post(page_of(account, "new/"), filled_in())
    (secret,) = set(SECRET.findall(answer.content.decode()))
    assert "no-store" in answer["Cache-Control"] and secret not in str(answer.headers)
    key = ApiKey.objects.get()
    for path in (page_of(account), page_of(account, f"{key.public_id}/"), f"/console/{account.public_id}/audit/"):
        assert secret[-40:] not in owner.get(path).content.decode()
    assert not [one for one in Session.objects.all() if secret in str(one.get_decoded())]
    assert secret not in caplog.text and secret not in str(list(AuditEvent.objects.values()))
    again = owner.post(page_of(account, "new/"), filled_in())
    assert again.status_code == 409 and "was already created" in again.content.decode()
    assert not SECRET.search(again.content.decode()) and ApiKey.objects.count() == 1


def test_the_page_of_the_secret_has_calls_that_use_it(account, owner, settings):
    settings.GATEWAY_URL = "https://models.example.com"
    html = owner.post(page_of(account, "new/"), filled_in()).content.decode()
    (secret,) = set(SECRET.findall(html))
    assert html.count(secret) == 4  # itself, curl, Python and JavaScript
    assert "https://models.example.com/sm/" in html
    assert "I have stored it" in html and 'role="alert"' not in html


def test_a_key_that_calls_no_model_has_no_call_to_show(account, owner):
    models_base(ServedModel).update(enabled=False)
    html = owner.post(page_of(account, "new/"), filled_in()).content.decode()
    assert "cannot call any model" in html and "curl" not in html


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "two\u2028lines"}, "line"),
        ({"which": "some"}, "Choose at least one model."),
        ({"which": "some", "models": ["lg"]}, "lg is not one of the available choices"),
        ({"expiry": "date"}, "Choose the last day"),
        ({"expiry": "date", "expires_on": "2020-01-01"}, "This day is in the past."),
        ({"networks": "nonsense"}, "nonsense"),
        ({"methods": ["BREW"]}, "BREW is not one of the available choices"),
        ({"metadata": "no colon"}, "name: value"),
        ({"metadata": "{broken"}, "This is not a JSON object."),
        ({"amount_0": "9999999999", "window_0": "minute", "unit_0": "requests"}, "1"),
        ({"amount_0": "5", "window_0": "day", "amount_1": "6", "window_1": "day"}, "Two of the limits"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(account, owner, changes, said):
    answer = owner.post(page_of(account, "new/"), filled_in(**changes))
    html = answer.content.decode().replace("&#x27;", "'")
    assert answer.status_code == 422 and 'role="alert"' in html and not ApiKey.objects.exists()
    assert (
        said in " ".join(re.findall(r'<p class="fault"[^>]*>([^<]+)</p>|<div><p>([^<]+)</p>', html)[0]) or said in html
    )


def test_a_closed_account_gets_no_key(account, owner):
    close_account(account, actor=ACTOR)
    answer = owner.post(page_of(account, "new/"), filled_in())
    assert answer.status_code == 409 and "is closed" in answer.content.decode() and not ApiKey.objects.exists()


@pytest.mark.parametrize("full", ["issues", "issues_of_a_day"])
def test_too_many_new_keys_wait(account, owner, monkeypatch, full):
    monkeypatch.setattr(Throttle, "wait", lambda self, who: 7 if (self.name, who) == (full, account.public_id) else 0)
    answer = owner.post(page_of(account, "new/"), filled_in())
    assert (answer.status_code, answer["Retry-After"]) == (429, "7") and not ApiKey.objects.exists()


def test_a_key_that_redis_does_not_know_yet_says_so(account, owner, redis_away):
    with redis_away():
        html = owner.post(page_of(account, "new/"), filled_in()).content.decode()
    assert SECRET.search(html) and "It doesn’t work yet." in html


# One key


def test_a_key_is_described_in_plain_words(account, owner, issued):
    path = page_of(account, f"{issued.key.public_id}/")
    html = owner.get(path).content.decode()
    for words in ("Calls every model of the plan free: 1 model today", "From any network", "Until it is revoked"):
        assert words in html
    assert "60 calls a minute, bursts of 10" in html and "10 left" in html
    assert "1,000 units a month, shared by all keys" in html and "1,000 left" in html


def test_a_model_outside_of_the_plan_is_pointed_out(account, owner, issued):
    models_base(ApiKey).update(narrowed_to=["sm", "lg"])
    assert (
        "The plan free does not include lg" in owner.get(page_of(account, f"{issued.key.public_id}/")).content.decode()
    )


def test_a_key_shows_what_it_did(account, owner, issued, used):
    used(issued.key, calls=7, refused=2)
    used(issued.key, calls=5, ago=timedelta(days=3))
    html = owner.get(page_of(account, f"{issued.key.public_id}/")).content.decode()
    assert "12 allowed · 2 refused" in html and html.count("<title>") == 31  # the page's, and one for each day


def test_a_page_without_redis_says_that_nobody_can_tell(account, owner, issued, redis_away):
    with redis_away():
        answer = owner.get(page_of(account, f"{issued.key.public_id}/"))
    assert answer.status_code == 200 and "can’t be read at the moment" in answer.content.decode()


def test_rotating_shows_a_new_secret_once_and_both_work(account, owner, issued, ask):
    path = page_of(account, f"{issued.key.public_id}/")
    sent = {"grace": "3600", "version": str(ApiKey.objects.get().version)}
    answer = owner.post(f"{path}rotate/", sent)
    (secret,) = set(SECRET.findall(answer.content.decode()))
    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"]
    assert ask(issued.text).status == ask(secret).status == 200
    assert "the old secret still works" in owner.get(path).content.decode()
    again = owner.post(f"{path}rotate/", sent)
    assert again.status_code == 302 and "has changed since this form was opened" in told(owner, path)
    assert owner.post(f"{path}end-rotation/")["Location"] == path
    assert (ask(issued.text).status, ask(secret).status) == (401, 200)
    assert "the old secret still works" not in owner.get(path).content.decode()


@pytest.mark.parametrize(
    ("last_use", "said"), [(timedelta(hours=2), "Still in use"), (timedelta(days=2), "Looks safe to end")]
)
def test_the_page_says_when_an_old_secret_looks_safe_to_end(account, owner, issued, last_use, said):
    rotate_key(issued.key, grace=timedelta(days=7), actor=ACTOR)
    long_ago = timezone.now() - timedelta(days=3)
    models_base(KeySecret).filter(key=issued.key).update(created_at=long_ago)
    models_base(KeySecret).filter(key=issued.key, expires_at__isnull=False).update(
        last_used_at=timezone.now() - last_use, last_used_from="203.0.113.7"
    )
    html = owner.get(page_of(account, f"{issued.key.public_id}/")).content.decode()
    assert said in html and 'ago</time>, from <span class="mono">203.0.113.7</span>' in html
    assert ("in 21 hours</time>, if nothing uses it until then" in html) is (said == "Still in use")


@pytest.mark.parametrize("sent", [{}, {"grace": "5", "version": "1"}, {"grace": "0", "version": "x"}, {"grace": "0"}])
def test_an_incomplete_form_rotates_nothing(account, owner, issued, sent, ask):
    path = page_of(account, f"{issued.key.public_id}/")
    owner.post(f"{path}rotate/", sent)
    assert "incomplete" in told(owner, path) and KeySecret.objects.count() == 1


def test_renaming_changes_the_name_alone(account, owner, issued):
    path = page_of(account, f"{issued.key.public_id}/")
    owner.post(f"{path}rename/", {"name": "second"})
    assert "The key is now called “second”." in told(owner, path)
    owner.post(f"{path}rename/", {"name": "\x07"})
    assert ApiKey.objects.get().name == "second"


def test_revoking_wants_the_name(account, owner, issued, ask):
    path = page_of(account, f"{issued.key.public_id}/")
    owner.post(f"{path}revoke/", {"name": "firs"})
    assert "Nothing was revoked" in told(owner, path) and ask(issued.text).status == 200
    owner.post(f"{path}revoke/", {"name": "first"})
    assert ask(issued.text).status == 401
    html = owner.get(path).content.decode()
    assert "Revoked on" in html and "Rotate" not in html and 'class="act"' not in html


def test_a_key_is_paused_and_resumed_by_its_page(account, owner, issued, ask):
    path = page_of(account, f"{issued.key.public_id}/")
    html = owner.get(path).content.decode()
    assert "refused, until you resume it" in html and f"{path}pause/" in html and f"{path}resume/" not in html
    assert owner.post(f"{path}pause/").status_code == 302 and ask(issued.text).status == 401
    html = owner.get(path).content.decode()
    assert "“first” is paused" in html and "Paused on" in html and '<span class="badge warn">Paused</span>' in html
    assert f"{path}resume/" in html and f"{path}pause/" not in html and "Limits now" in html
    assert owner.post(f"{path}resume/").status_code == 302 and ask(issued.text).status == 200
    assert "“first” is resumed" in owner.get(path).content.decode()


@pytest.mark.parametrize("act", ["pause", "resume"])
def test_a_revoked_key_cannot_be_paused_or_resumed_by_its_page(account, owner, issued, act):
    revoke_key(issued.key, actor=ACTOR)
    path = page_of(account, f"{issued.key.public_id}/")
    owner.post(f"{path}{act}/")
    assert "is revoked" in told(owner, path) and ApiKey.objects.get().paused_at is None


def test_readers_see_that_a_key_is_paused_and_cannot_resume_it(account, issued):
    pause_key(issued.key, actor=ACTOR)
    path = page_of(account, f"{issued.key.public_id}/")
    vera = person("vera", account, "viewer")
    html = vera.get(path).content.decode()
    assert "Paused on" in html and "resume/" not in html and "#pause" not in html
    assert vera.post(f"{path}resume/").status_code == 403 and ApiKey.objects.get().paused_at


def test_a_change_holds_at_the_next_request(account, owner, issued, ask):
    path = page_of(account, f"{issued.key.public_id}/change/")
    assert 'value="first"' in owner.get(path).content.decode()
    assert ask(issued.text, x_forwarded_method="POST").status == 200
    changed = owner.post(path, filled_in(name="first", methods=["GET"], expiry="keep"))
    assert changed.status_code == 302
    assert ask(issued.text, x_forwarded_method="POST").status == 403


def test_a_form_that_is_sent_as_it_is_changes_nothing(account, owner):
    wanted = filled_in(
        which="some",
        models=["sm"],
        expiry="90",
        networks="203.0.113.0/24",
        metadata='{"a": [1, {"b": null}]}',
        amount_0="7",
        unit_0="units",
        window_0="month",
    )
    owner.post(page_of(account, "new/"), wanted)
    key = ApiKey.objects.get()
    before = ApiKey.objects.values("name", "narrowed_to", "networks", "methods", "metadata", "expires_at").get()
    html = owner.get(page_of(account, f"{key.public_id}/change/")).content.decode()
    metadata = re.findall(r'name="metadata"[^>]*>([^<]*)<', html)[0].replace("&quot;", '"')
    as_it_is = {**wanted, "expiry": "keep", "metadata": metadata}
    assert owner.post(page_of(account, f"{key.public_id}/change/"), as_it_is).status_code == 302
    assert ApiKey.objects.values("name", "narrowed_to", "networks", "methods", "metadata", "expires_at").get() == before
    assert [(one.amount, one.unit, one.window) for one in key.limits.all()] == [(7, "units", "month")]


# Roles


def test_a_member_changes_their_own_keys_and_no_others(account, issued, ask):
    mia = person("mia", account, "member")
    own = issue_key(account, name="mine", actor=acting(mia))
    theirs, mine = (page_of(account, f"{one.key.public_id}/") for one in (issued, own))
    assert "Revoke" in mia.get(mine).content.decode() and "Revoke" not in mia.get(theirs).content.decode()
    assert mia.post(f"{theirs}revoke/", {"name": "first"}).status_code == 403
    assert mia.post(f"{mine}revoke/", {"name": "mine"}).status_code == 302
    assert (ask(issued.text).status, ask(own.text).status) == (200, 401)


def test_who_is_a_viewer_now_changes_no_keys_not_even_their_own(account):
    mia = person("mia", account, "member")
    own = issue_key(account, name="mine", actor=acting(mia)).key
    set_role(account, User.objects.get(username="mia"), "viewer", actor=ACTOR)
    path = page_of(account, f"{own.public_id}/")
    assert mia.get(path).status_code == 200 and "Revoke" not in mia.get(path).content.decode()
    assert mia.post(f"{path}revoke/", {"name": "mine"}).status_code == 403
    assert mia.post(f"{path}change/", filled_in(name="x")).status_code == 403
    assert ApiKey.objects.get().revoked_at is None


def test_what_somebody_may_not_do_has_no_button(account, issued):
    vera = person("vera", account, "viewer")
    for path in ("", f"{issued.key.public_id}/"):
        html = vera.get(page_of(account, path)).content.decode()
        assert not re.search(r"New key|Rotate|Rename|Revoke\b|/change/", html)


def test_changing_a_key_keeps_limits_that_the_form_has_no_fields_for(account, owner):
    burst = Limit(name="burst", scope="key", amount=20, window="minute", burst=5)
    key = issue_key(account, name="first", limits=[burst], actor=ACTOR).key
    owner.post(page_of(account, f"{key.public_id}/change/"), filled_in(name="second", expiry="keep"))
    key.refresh_from_db()
    assert key.name == "second"
    assert [(row.name, row.amount, row.burst) for row in key.limits.all()] == [("burst", 20, 5)]


def test_a_value_of_metadata_may_have_colons():
    assert read_metadata("see: https://example.org\nteam: nlp") == {"see": "https://example.org", "team": "nlp"}


def test_a_changed_key_may_keep_a_model_that_has_left_the_plan(account, owner):
    key = issue_key(account, name="first", models=["sm", "lg"], actor=ACTOR).key
    form = filled_in(name="second", which="some", models=["sm", "lg"], expiry="keep")
    assert owner.post(page_of(account, f"{key.public_id}/change/"), form).status_code == 302
    key.refresh_from_db()
    assert (key.name, key.narrowed_to) == ("second", ["sm", "lg"])
