"""The second factor: app, recovery codes and passkeys; asked of staff where the operator wants it."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from allauth.mfa import app_settings as mfa
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client, RequestFactory

from accounts.models import User
from console.signing.limits import TooManyTries, count_second_factor, is_first_use
from store.throttles import CODES_USED, SECOND_FACTORS_OF
from tests.api.callers import fill
from tests.console.signing.authenticator import Passkey
from tests.console.signing.people import HERE, PASSWORD, acts, is_signed_in, mia, sign_in

pytestmark = pytest.mark.django_db(transaction=True)

FACTOR = "/accounts/second-factor/"
APP, CODES = {"kind": "totp"}, {"kind": "recovery_codes"}
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def code(secret: str = SECRET, steps: int = 0) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps)))


def wrong() -> str:
    """A code of no step that is near."""
    near = {code(steps=step) for step in range(-3, 4)}
    return next(text for text in (f"{number:06}" for number in range(10)) if text not in near)


@pytest.fixture
def inside():
    """A browser that has signed in, and whose person has just typed the password again."""
    mia()
    client = Client(**HERE)
    sign_in(client)
    assert client.get(f"{FACTOR}totp/activate/")["Location"].startswith("/accounts/reauthenticate/")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


@pytest.fixture
def half_in():
    """A browser that is asked for a code."""
    TOTP.activate(mia(), SECRET)
    client = Client(**HERE)
    assert sign_in(client)["Location"] == f"{FACTOR}authenticate/"
    assert not is_signed_in(client)
    return client


def js_data(page: Any) -> dict[str, Any]:
    (text,) = re.findall(r'<script id="js_data" type="application/json">(.*?)</script>', page.content.decode())
    return json.loads(text)  # type: ignore[no-any-return]


def test_an_app_is_set_up_with_recovery_codes(inside):
    page = inside.get(f"{FACTOR}totp/activate/").content.decode()
    assert 'src="data:image/svg+xml' in page
    (secret,) = re.findall(r'id="authenticator_secret"[^>]*value="([A-Z2-7]+)"', page)
    assert inside.post(f"{FACTOR}totp/activate/", {"code": code(secret)}).status_code == 302
    kinds = sorted(Authenticator.objects.values_list("type", flat=True))
    assert kinds == ["recovery_codes", "totp"]
    assert [row.after for row in acts("user.second_factor_add")] in ([APP, CODES], [CODES, APP])
    stored = Authenticator.objects.get(type="totp").data["secret"]
    assert secret not in stored and stored.startswith("gAAAA")  # encrypted


def test_a_code_lets_in_once(half_in):
    first = code()
    assert half_in.post(f"{FACTOR}authenticate/", {"code": first}).status_code == 302
    assert is_signed_in(half_in)
    assert acts("user.sign_in")[0].after == {"how": ["password", "mfa"]}
    again = Client()
    sign_in(again)
    assert again.post(f"{FACTOR}authenticate/", {"code": first}).status_code == 200
    assert not is_signed_in(again)


def test_a_code_lets_in_once_whichever_process_is_asked(half_in):
    first = code()
    half_in.post(f"{FACTOR}authenticate/", {"code": first})
    cache.clear()  # that of Django is of one process
    again = Client()
    sign_in(again)
    again.post(f"{FACTOR}authenticate/", {"code": first})
    assert not is_signed_in(again)
    assert [row.after for row in acts("user.sign_in_failed")] == [{"how": "second factor: a used code"}]


def test_a_recovery_code_lets_in_once(inside):
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    user = User.objects.get()
    TOTP.activate(user, SECRET)
    (one, *_) = RecoveryCodes.activate(user).get_unused_codes()
    for lets_in in (True, False):
        client = Client()
        sign_in(client)
        client.post(f"{FACTOR}authenticate/", {"code": one})
        assert is_signed_in(client) is lets_in


def test_new_recovery_codes_are_written_down(inside):
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    user = User.objects.get()
    TOTP.activate(user, SECRET)
    RecoveryCodes.activate(user)
    assert inside.post(f"{FACTOR}recovery-codes/generate/").status_code == 302
    assert [row.after for row in acts("user.second_factor_reset")] == [CODES]


def test_codes_are_not_guessed_at(half_in, redis_db):
    answers = [half_in.post(f"{FACTOR}authenticate/", {"code": wrong()}).status_code for _ in range(7)]
    assert answers == [200] * SECOND_FACTORS_OF.calls + [429] * 2
    assert half_in.post(f"{FACTOR}authenticate/", {"code": code()}).status_code == 429
    failed = acts("user.sign_in_failed")
    assert len(failed) == SECOND_FACTORS_OF.calls and failed[0].after == {"how": "second factor: totp"}
    assert failed[0].actor == "mia"


def test_nor_where_one_is_asked_for_again(half_in, redis_db):
    """A session left open must not allow unlimited guesses."""
    half_in.post(f"{FACTOR}authenticate/", {"code": code()})
    assert is_signed_in(half_in)
    fill(redis_db, SECOND_FACTORS_OF, str(User.objects.get().pk))
    assert half_in.post(f"{FACTOR}reauthenticate/", {"code": wrong()}).status_code == 429


def test_codes_count_per_user_whichever_networks_they_come_from(redis_db):
    """Who has many addresses gets no more tries, and takes none from others at the same address."""
    request = RequestFactory().get("/", **HERE)
    user, other = mia(), User.objects.create_user("ned")
    for number in range(SECOND_FACTORS_OF.calls):
        count_second_factor(RequestFactory().get("/", REMOTE_ADDR=f"198.51.100.{number}"), user)
    with pytest.raises(TooManyTries):
        count_second_factor(request, user)
    count_second_factor(request, other)


def test_a_used_code_is_used_for_its_user_alone(redis_db):
    """Codes have six digits: now and then two people have the same one."""
    user, other = mia(), User.objects.create_user("ned")
    assert [is_first_use(one, "123456") for one in (user, user, other)] == [True, False, True]


def test_a_code_counts_as_used_for_as_long_as_it_is_accepted(settings):
    periods = 2 * settings.MFA_TOTP_TOLERANCE + 1  # the one that it is of, and those around it
    assert CODES_USED.seconds >= periods * mfa.TOTP_PERIOD


def test_with_another_secret_key_no_code_fits_and_nothing_breaks(half_in, settings):
    settings.SECRET_KEY = "another" * 10
    client = Client()
    sign_in(client)
    assert client.post(f"{FACTOR}authenticate/", {"code": code()}).status_code == 200


def test_the_password_is_asked_again_before_a_factor_is_removed(inside):
    TOTP.activate(User.objects.get(), SECRET)
    session = inside.session
    session["account_authentication_methods"] = []
    session.save()
    assert inside.post(f"{FACTOR}totp/deactivate/").status_code == 302
    assert Authenticator.objects.exists()
    inside.post("/accounts/reauthenticate/", {"password": PASSWORD})
    inside.post(f"{FACTOR}totp/deactivate/")
    assert not Authenticator.objects.exists()
    assert acts("user.second_factor_remove")


def test_who_lost_it_all_is_helped_by_a_command(half_in, capsys):
    call_command("reset_second_factor", "MIA")
    assert capsys.readouterr().out == "done: mia had totp\n"
    sign_in(client := Client())
    assert is_signed_in(client)
    (row,) = acts("user.second_factor_reset")
    assert (row.actor, row.subject, row.before) == ("command reset_second_factor", "mia", {"kinds": ["totp"]})
    with pytest.raises(CommandError, match="There is no user nobody"):
        call_command("reset_second_factor", "nobody")


# Passkeys


@pytest.fixture
def passkey(inside, settings):
    settings.CONSOLE_URL = "http://localhost:8081"
    settings.MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = True
    made = Passkey()
    options = js_data(inside.get(f"{FACTOR}webauthn/add/"))["creation_options"]
    fields = {"name": "my laptop", "passwordless": "on", "credential": made.register(options)}
    answer = inside.post(f"{FACTOR}webauthn/add/", fields)
    assert answer.status_code == 302, answer.content.decode()
    return made


def test_a_passkey_signs_in_without_a_password(passkey):
    client = Client(**HERE)
    options = client.get(f"{FACTOR}webauthn/login/", headers={"X-Requested-With": "XMLHttpRequest"}).json()
    answer = client.post(f"{FACTOR}webauthn/login/", {"credential": passkey.sign_in(options["request_options"])})
    assert answer.status_code == 302 and is_signed_in(client)
    assert acts("user.sign_in")[-1].after == {"how": ["mfa"]}


def test_an_answer_to_another_challenge_signs_nobody_in(passkey):
    client, other = Client(), Client()
    for one in (client, other):
        options = one.get(f"{FACTOR}webauthn/login/", headers={"X-Requested-With": "XMLHttpRequest"}).json()
    client.post(f"{FACTOR}webauthn/login/", {"credential": passkey.sign_in(options["request_options"])})
    assert not is_signed_in(client)


def test_a_passkey_of_another_site_is_none(passkey):
    client = Client()
    options = client.get(f"{FACTOR}webauthn/login/", headers={"X-Requested-With": "XMLHttpRequest"}).json()
    stranger = Passkey(host="evil.example")
    stranger.id, stranger._user = passkey.id, passkey._user
    client.post(f"{FACTOR}webauthn/login/", {"credential": stranger.sign_in(options["request_options"])})
    assert not is_signed_in(client)


# Asked of staff


@pytest.fixture
def required(settings):
    settings.STAFF_SECOND_FACTOR = True


@pytest.mark.parametrize("rights", [{"is_staff": True}, {"is_superuser": True}])
def test_staff_without_one_are_led_to_it_before_anything_opens(required, rights):
    client = Client()
    client.force_login(mia(**rights))
    for path in ("/admin/", "/admin/accounts/user/", "/mailbox/", "/", "/console/", "/console/T5c6tKxK/keys/"):
        answer = client.get(path)
        assert (answer.status_code, answer["Location"]) == (302, FACTOR), path
    refused = client.get("/api/v1/me/")
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    assert "Set up a second factor" in client.get(FACTOR).content.decode()
    assert client.get("/accounts/reauthenticate/").status_code == 200


def test_with_one_the_admin_opens(required):
    client = Client()
    client.force_login(user := mia(is_staff=True, is_superuser=True))
    TOTP.activate(user, SECRET)
    assert client.get("/admin/").status_code == 200


def test_recovery_codes_alone_are_none(required):
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    client = Client()
    client.force_login(user := mia(is_staff=True))
    RecoveryCodes.activate(user)
    assert client.get("/admin/").status_code == 302


def test_customers_need_none(required):
    client = Client()
    client.force_login(mia())
    assert client.get("/api/v1/me/").status_code == 200


def test_switched_off_nobody_does():
    client = Client()
    client.force_login(mia(is_staff=True))
    assert client.get("/admin/").status_code == 200
